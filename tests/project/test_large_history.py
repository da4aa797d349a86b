"""The history that is loaded to measure on is one that Usher could have written; pages answer."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from accounts.models import User
from benchmarks.history.loading import load
from benchmarks.large_history import measure
from benchmarks.pages import pages
from events.models import Attempt, Delivery, Event
from events.signals import get_signal

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database("postgres")]


def test_a_loaded_history_holds_every_promise_and_its_pages_answer() -> None:
    load(events=400, seed=3)
    report = measure(events=1000, rounds=1, limit_ms=60_000, only="support")

    assert report["failed"] == []
    assert report["measured"].keys() >= {"support, an inviter", "support, whose delivery is dead"}
    assert 1000 <= report["events"] < 1010  # the last person's chain is whole
    assert 1.8 < report["deliveries"] / report["events"] < 2.3
    call_command("check_invariants", stdout=StringIO())  # raises where one is broken


def test_every_list_of_the_admin_and_the_api_is_measured() -> None:
    load(events=100)
    staff = User.objects.create_superuser("staff@example.com", "irrelevant")

    names = {page.name for page in pages(staff)}

    assert any(name.startswith("/admin/events/delivery/?state") for name in names)
    assert {"/admin/", "/admin/support/", "/admin/events/event/", "/metrics"} <= names
    assert {"/api/v1/events/", "/api/v1/deliveries/?state=dead", "/wallet/"} <= names


def test_what_is_loaded_reads_as_what_is_published() -> None:
    load(events=200)

    for row in Event.objects.all():
        event = get_signal(row.type).read(row)
        assert event.key == str(getattr(event.data, get_signal(row.type).key_field))
    assert Delivery.objects.filter(event__causation_id__isnull=False).exists()
    last = Delivery.objects.latest("pk").pk
    assert Delivery.objects.exclude(finished_at=None).filter(attempts=2).count() == (
        Attempt.objects.filter(delivery__attempts=2).count()
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('events_delivery', 'id'))")
        assert cursor.fetchone() == (last + 1,)


def test_a_page_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    load(events=100, seed=3)
    monkeypatch.setattr(Client, "get", lambda *args: Client().post("/livez"))

    report = measure(events=1, rounds=1, only="/metrics")

    assert (report["failed"], report["all_below_limit"]) == (["/metrics"], False)
