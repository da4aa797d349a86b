"""`GET /api/v1/me/points/` and `me/points/entries/`."""

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from points.models import Entry
from tests.points.factories import make_account, make_entry
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

POINTS = "/api/v1/me/points/"
ENTRIES = "/api/v1/me/points/entries/"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
def mei(api_client: APIClient) -> User:
    """Return somebody whose client is logged in."""
    person = make_person()
    api_client.force_authenticate(person)
    return person


def test_who_never_had_points_has_none(api_client: APIClient, mei: User) -> None:
    answer = api_client.get(POINTS)

    assert answer.status_code == 200
    assert answer.json() == {
        "balance": 0,
        "pending": 0,
        "frozen": False,
        "lifetime_earned": 0,
        "next_expiry": None,
    }


def test_points_look_like_this(api_client: APIClient, mei: User) -> None:
    account = make_account(
        mei, balance=-5, pending=100, lifetime_earned=300, frozen_at=MOMENT, version=3
    )
    make_entry(account, expires_at=FUTURE)

    assert api_client.get(POINTS).json() == {
        "balance": -5,
        "pending": 100,
        "frozen": True,
        "lifetime_earned": 300,
        "next_expiry": "2999-01-01T00:00:00Z",
    }


def test_entries_look_like_this(api_client: APIClient, mei: User) -> None:
    entry = make_entry(
        make_account(mei), amount=100, balance_after=100, reason="referral", occurred_at=MOMENT
    )

    answer = api_client.get(ENTRIES)

    assert answer.status_code == 200
    assert answer.json() == {
        "next": None,
        "previous": None,
        "results": [
            {
                "id": str(entry.pk),
                "kind": "earn",
                "amount": 100,
                "balance_after": 100,
                "occurred_at": "2026-01-01T00:00:00Z",
                "reason": "referral",
            }
        ],
    }


def test_others_points_are_not_shown(api_client: APIClient, mei: User) -> None:
    make_entry(make_account(make_person(), balance=10))

    assert api_client.get(POINTS).json()["balance"] == 0
    assert api_client.get(ENTRIES).json()["results"] == []


@pytest.mark.parametrize("url", [POINTS, ENTRIES])
def test_strangers_are_refused(api_client: APIClient, url: str) -> None:
    answer = api_client.get(url)

    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"


def test_pages_lead_from_the_newest_to_the_oldest(api_client: APIClient, mei: User) -> None:
    ids = [str(entry.pk) for entry in make_entries(mei, 7)]

    seen: list[str] = []
    url = f"{ENTRIES}?page_size=3"
    while url:
        page = api_client.get(url).json()
        seen += [entry["id"] for entry in page["results"]]
        url = page["next"]

    assert seen == ids[::-1]


def test_a_cursor_that_is_no_number_is_refused(api_client: APIClient, mei: User) -> None:
    make_entries(mei, 1)
    forged = b64encode(b"p=not-a-number").decode()

    assert api_client.get(ENTRIES, {"cursor": forged}).status_code == 400


@pytest.mark.parametrize("entries", [1, 50])
def test_the_number_of_queries_does_not_grow_with_that_of_entries(
    api_client: APIClient, mei: User, entries: int
) -> None:
    make_entries(mei, entries)

    assert count_queries(api_client, ENTRIES) == 1
    assert count_queries(api_client, POINTS) == 2


def make_entries(owner: User, number: int) -> list[Entry]:
    """Return new entries, oldest first."""
    account = make_account(owner)
    return [make_entry(account) for _ in range(number)]


def count_queries(client: APIClient, url: str) -> int:
    """Return how many queries an answer takes."""
    with CaptureQueriesContext(connection) as queries:
        answer: Any = client.get(url)
    assert answer.status_code == 200
    return len(queries)
