"""SQLite locked by somebody else, or full: a clean refusal, nothing half, all well afterwards."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.cache import cache
from django.db import DatabaseError, OperationalError, connection
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from coupons.models import Coupon
from events.filelock import FileLock
from events.models import Event
from tests.faults.any_receiver import recover
from tests.faults.checks import check_everything
from tests.faults.stimuli import drain_everything, set_scene
from tests.faults.world import PASSWORD
from tests.probe.observe import let_leases_expire

PATIENCE_S = 0.2  # instead of the 5 s that settings give a request
NO_LIMIT = 2**30  # pages
REFUSED = 5  # sign-ups in a full database

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.database("sqlite"),
]


@pytest.fixture
def client() -> APIClient:
    """Return a client that gets the answer where an error leaves a view."""
    return APIClient(raise_request_exception=False)


def sign_up(client: APIClient, email: str, code: str = "") -> Any:
    """Register by the API; return the answer."""
    body = {"email": email, "password": PASSWORD, "referral_code": code}
    return client.post("/api/v1/registrations/", body)


@contextmanager
def locked_by_another_program() -> Iterator[None]:
    """Hold SQLite's own lock, as a backup or a shell may."""
    with _impatient(), sqlite3.connect(str(connection.settings_dict["NAME"])) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.rollback()
    other.close()


@contextmanager
def locked_by_another_process() -> Iterator[None]:
    """Hold the lock our processes queue at, as one that is stopped while it writes."""
    lock = FileLock(Path(f"{connection.settings_dict['NAME']}.write-lock"))
    with _impatient():
        assert lock.acquire(1)
        yield
        lock.close()


@contextmanager
def _impatient() -> Iterator[None]:
    connection.ensure_connection()
    _pragma(f"busy_timeout = {int(PATIENCE_S * 1000)}")
    with mock.patch.dict(connection.settings_dict["OPTIONS"], timeout=PATIENCE_S):
        yield
    connection.close()


def _pragma(text: str) -> Any:
    with connection.cursor() as cursor:
        row = cursor.execute(f"PRAGMA {text}").fetchone()
        return row and row[0]


@pytest.mark.parametrize("locked", [locked_by_another_program, locked_by_another_process])
def test_a_database_locked_for_too_long_is_a_503_and_nothing_is_stored(
    locked: Any, client: APIClient
) -> None:
    inviter = set_scene().inviter

    with locked():
        refused = sign_up(client, "b@example.com", inviter.referral_code)
    stored_meanwhile = User.objects.filter(email="b@example.com").exists()
    accepted = sign_up(client, "b@example.com", inviter.referral_code)

    assert refused.status_code == 503
    assert refused["Retry-After"]
    assert not stored_meanwhile
    assert accepted.status_code == 201
    drain_everything()
    assert check_everything() == []


@pytest.mark.parametrize("locked", [locked_by_another_program, locked_by_another_process])
@pytest.mark.parametrize(
    "path", ["/api/v1/registrations/", "/api/v1/tokens/", "/accounts/signup/", "/accounts/login/"]
)
def test_what_can_not_be_counted_is_not_too_much(
    path: str, locked: Any, client: APIClient, settings: Settings
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}  # those of the library, as outside of tests
    person = {"email": "b@example.com", "password": PASSWORD}
    form = {**person, "login": person["email"], "password1": PASSWORD}

    with locked():
        if path.startswith("/api/"):
            refused = client.post(path, person)
        else:
            refused = client.post(path, form, format="multipart")

    assert (refused.status_code, bool(refused["Retry-After"])) == (503, True)


def test_limits_are_not_lifted_in_a_full_database() -> None:
    let_no_page_be_free()
    try:
        with pytest.raises(OperationalError):
            count_something_long()
    finally:
        _pragma(f"max_page_count = {NO_LIMIT}")


def let_no_page_be_free() -> None:
    """Let the file grow no more, without the pages that the rows of other tests have left."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
    _pragma(f"max_page_count = {_pragma('page_count')}")


def count_something_long() -> None:
    """Store what needs pages of its own."""
    cache.set("counter", "x" * 100_000)


def test_a_full_database_refuses_sign_ups_whole_and_takes_them_when_there_is_space(
    client: APIClient,
) -> None:
    inviter = set_scene().inviter
    let_no_page_be_free()

    statuses = Counter[int]()
    while statuses[503] < REFUSED:  # what is left in the pages there are is soon used
        email = f"b{statuses.total()}@example.com"
        statuses[sign_up(client, email, inviter.referral_code).status_code] += 1
    with suppress(DatabaseError):
        drain_everything()

    assert set(statuses) == {201, 503}
    assert User.objects.count() == Event.objects.filter(type="accounts.user_registered").count()
    assert User.objects.count() == statuses[201] + 1
    assert _pragma("integrity_check") == "ok"

    _pragma(f"max_page_count = {NO_LIMIT}")
    assert sign_up(client, "late@example.com", inviter.referral_code).status_code == 201
    let_leases_expire()
    recover()
    recover()
    assert Coupon.objects.count() == statuses[201] + 2
    assert check_everything() == []
