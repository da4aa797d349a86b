"""`GET /api/v1/me/coupons/`."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from coupons.models import Campaign, Coupon
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

URL = "/api/v1/me/coupons/"
FROM = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
def mei(api_client: APIClient) -> User:
    """Return somebody whose client is logged in."""
    person = make_person()
    api_client.force_authenticate(person)
    return person


def results(client: APIClient, **query: Any) -> list[dict[str, Any]]:
    """Return the first page."""
    answer = client.get(URL, query)
    assert answer.status_code == 200
    assert answer.json().keys() == {"next", "previous", "results"}
    return list(answer.json()["results"])


def test_a_fixed_benefit_looks_like_this(api_client: APIClient, mei: User) -> None:
    campaign = make_campaign(
        name="Five off", basis_points=None, amount=500, currency="EUR", min_spend=2000
    )
    coupon = make_coupon(campaign, mei, valid_from=FROM, valid_until=UNTIL)

    assert results(api_client) == [
        {
            "code": coupon.code,
            "campaign": "Five off",
            "state": "usable",
            "benefit": {"type": "fixed", "amount": 500, "currency": "EUR"},
            "min_spend": 2000,
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_until": "2999-01-01T00:00:00Z",
        }
    ]


@pytest.mark.parametrize("cap", [None, 3000])
def test_a_percentage_looks_like_this(api_client: APIClient, mei: User, cap: int | None) -> None:
    make_coupon(make_campaign(basis_points=1250, cap=cap, currency="EUR"), mei)

    (coupon,) = results(api_client)

    assert coupon["benefit"] == {"type": "percent", "basis_points": 1250, "cap": cap}


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, "usable"),
        ({"valid_from": FROM.replace(year=2998), "valid_until": UNTIL}, "upcoming"),
        ({"valid_from": FROM, "valid_until": FROM + timedelta(days=1)}, "expired"),
        ({"status": "redeemed"}, "redeemed"),
        ({"status": "revoked"}, "revoked"),
        ({"suspended_at": FROM}, "suspended"),
    ],
)
def test_the_state_is_that_of_now(
    api_client: APIClient, mei: User, columns: dict[str, Any], state: str
) -> None:
    make_coupon(make_campaign(), mei, **columns)

    assert [coupon["state"] for coupon in results(api_client)] == [state]


def test_others_coupons_are_not_shown(api_client: APIClient, mei: User) -> None:
    make_coupon(make_campaign(), make_person())

    assert results(api_client) == []


def test_strangers_are_refused(api_client: APIClient) -> None:
    answer = api_client.get(URL)

    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"


def test_pages_lead_from_the_newest_to_the_oldest(api_client: APIClient, mei: User) -> None:
    codes = [coupon.code for coupon in make_coupons(mei, 7)]

    seen, url = [], f"{URL}?page_size=3"
    while url:
        page = api_client.get(url).json()
        seen += [coupon["code"] for coupon in page["results"]]
        url = page["next"]

    assert seen == codes[::-1]


def test_a_cursor_that_is_no_id_is_refused(api_client: APIClient, mei: User) -> None:
    make_coupons(mei, 1)
    forged = b64encode(b"p=not-an-id").decode()

    assert api_client.get(URL, {"cursor": forged}).status_code == 400


def test_the_number_of_queries_does_not_grow_with_that_of_coupons(
    api_client: APIClient, mei: User
) -> None:
    make_coupons(mei, 1)
    assert count_queries(api_client) == 1

    make_coupons(mei, 49)
    assert count_queries(api_client) == 1


def make_coupons(owner: User, number: int) -> list[Coupon]:
    """Return new coupons of as many campaigns, oldest first."""
    campaigns = [make_campaign(starts_at=timezone.now()) for _ in range(number)]
    return [make_coupon(campaign, owner) for campaign in campaigns]


def count_queries(client: APIClient) -> int:
    """Return how many queries the list takes."""
    with CaptureQueriesContext(connection) as queries:
        shown = results(client)
    assert len(shown) == Campaign.objects.count()
    return len(queries)
