"""A search for what is due begins where something was, and now and then at the beginning."""

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.utils import timezone

from events.delivery import floors
from events.delivery.claim import claim
from events.delivery.claimable import has_due_deliveries
from events.delivery.clock import database_now
from events.models import Delivery
from tests.conftest import Drain, Publish

pytestmark = [pytest.mark.django_db(transaction=True)]
on_postgres = pytest.mark.database("postgres")
NAME = "probe.record"
LISTENERS = 4  # of the probe's event, in two queues
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have floors hold for longer than a test takes."""
    monkeypatch.setattr(floors, "LOOK_FROM_THE_BEGINNING_EVERY_S", 600.0)


def let_be_due_for(ago: timedelta) -> None:
    """Let what is published be due for so long, as if it had been committed late."""
    Delivery.objects.filter(finished_at__isnull=True).update(due_at=database_now() - ago)


def test_a_floor_lies_below_what_is_due(lasting: None) -> None:
    floors.note_first(NAME, AT - timedelta(hours=1), AT)

    assert floors.floor_of(NAME) == AT - timedelta(hours=1, seconds=floors.LOOK_BACK_S)


@pytest.mark.parametrize("first", [None, AT + timedelta(hours=1)])
def test_a_floor_lies_below_now_where_nothing_is_due(first: datetime | None, lasting: None) -> None:
    floors.note_first(NAME, first, AT)

    assert floors.floor_of(NAME) == AT - timedelta(seconds=floors.LOOK_BACK_S)


@pytest.mark.parametrize(("after_s", "holds"), [(599, True), (601, False)])
def test_a_floor_holds_for_a_while_only(
    after_s: float, holds: bool, lasting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s = time.monotonic()
    floors.note_first(NAME, None, AT)
    later = SimpleNamespace(monotonic=lambda: began_s + after_s)
    monkeypatch.setattr(floors, "time", later)

    assert (floors.floor_of(NAME) != floors.BEGINNING) is holds


@on_postgres
def test_the_question_begins_at_the_floor(publish: Publish, lasting: None) -> None:
    has_due_deliveries("probe")
    publish()
    let_be_due_for(timedelta(minutes=5))

    assert not has_due_deliveries("probe")


@on_postgres
def test_a_claim_begins_at_the_floor(publish: Publish, lasting: None) -> None:
    has_due_deliveries("probe")
    publish(key="a", number=1)
    let_be_due_for(timedelta(minutes=5))
    publish(key="b", number=2)

    claimed = [*claim("probe", 10), *claim("probe", 10)]

    assert {delivery.event.data["number"] for delivery in claimed} == {2}


@on_postgres
def test_what_was_committed_some_seconds_late_is_found_at_once(
    publish: Publish, drain: Drain, lasting: None
) -> None:
    has_due_deliveries("probe")
    publish()
    let_be_due_for(timedelta(seconds=floors.LOOK_BACK_S / 2))

    assert drain() == LISTENERS


@on_postgres
def test_what_was_committed_later_still_is_found_from_the_beginning(
    publish: Publish, drain: Drain, lasting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_due_deliveries("probe")
    publish()
    let_be_due_for(timedelta(minutes=5))
    monkeypatch.setattr(floors, "_floors", {NAME: (timezone.now(), 0.0)})  # no longer holds

    assert drain() == LISTENERS


def test_what_is_due_for_long_is_found_while_more_comes(
    publish: Publish, drain: Drain, lasting: None
) -> None:
    publish(key="a")
    let_be_due_for(timedelta(hours=1))
    assert has_due_deliveries("probe")
    publish(key="b")

    assert drain() == 2 * LISTENERS


@pytest.mark.database("sqlite")
def test_sqlite_has_no_floors(publish: Publish, lasting: None) -> None:
    has_due_deliveries("probe")
    publish()
    let_be_due_for(timedelta(days=1))

    assert connection.vendor == "sqlite"
    assert has_due_deliveries("probe")
