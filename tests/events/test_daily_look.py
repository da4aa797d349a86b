"""The daily look: all of the latest events are gone over, in slices that each end in time."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.delivery.sweep import record_receivers
from events.envelope import Event
from events.models import Delivery, DeliveryState, ReceiverState
from events.models import Event as EventRow
from events.operations import audits, daily
from events.operations.audits import Flaw, FlawKind
from events.operations.daily import reconcile_daily
from tests.conftest import Drain, Publish
from tests.probe.signals import Happened
from tests.reconciling import statements

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "probe.record"
HOUR = timedelta(hours=1)

asked: list[int] = []


def audit_record(events: Sequence[Event[Happened]]) -> Iterator[Flaw]:
    """Miss the effect of every odd number."""
    asked.extend(event.data.number for event in events)
    for event in events:
        if event.data.number % 2:
            yield Flaw(event_id=event.id, kind=FlawKind.MISSING, what="It is odd.")


@pytest.fixture(autouse=True)
def _audit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(audits, "_audits", {})
    audits.audit(RECEIVER)(audit_record)
    monkeypatch.setattr(daily, "BUDGET_S", 600)  # a slow machine too gets through
    asked.clear()
    record_receivers()
    yield
    asked.clear()


@pytest.fixture(name="delivered")
def _delivered(publish: Publish, drain: Drain) -> None:
    """Let five events, numbered from 0, have been delivered an hour ago."""
    for number in range(5):
        publish(number, key=f"person {number}")
    drain()
    age(HOUR)


def age(by: timedelta) -> None:
    """Let all events, and what came of them, be older than they are: ids tell the time too."""
    moment = timezone.now() - by
    for row in EventRow.objects.order_by("position"):
        older = UUID(int=int(moment.timestamp() * 1000) << 80 | uuid4().int >> 48)
        with transaction.atomic():  # references are looked at in its end
            row.deliveries.update(event_id=older)
            EventRow.objects.filter(pk=row.pk).update(event_id=older, occurred_at=moment)


def broken_audit(events: Sequence[Event[Happened]]) -> Iterator[Flaw]:
    """Fail."""
    raise ZeroDivisionError


def messages(caplog: pytest.LogCaptureFixture, level: str = "ERROR") -> list[str]:
    """Return what the look logged."""
    records = [r for r in caplog.records if r.name == daily.__name__ and r.levelname == level]
    return [record.getMessage() for record in records]


@pytest.mark.usefixtures("delivered")
def test_it_logs_what_it_finds_and_repairs_nothing(
    drain: Drain, caplog: pytest.LogCaptureFixture
) -> None:
    found = reconcile_daily()

    (message,) = messages(caplog)
    assert found == 2
    assert "2 missing (probe.record)" in message
    assert "manage.py reconcile" in message
    assert drain() == 0


def test_it_is_silent_where_all_is_well(
    publish: Publish, drain: Drain, caplog: pytest.LogCaptureFixture
) -> None:
    publish(2)
    drain()

    assert reconcile_daily() == 0
    assert messages(caplog) == []


@pytest.mark.usefixtures("delivered")
def test_it_is_taken_once_a_day() -> None:
    reconcile_daily()
    assert (reconcile_daily(), asked) == (0, [0, 1, 2, 3, 4])

    ReceiverState.objects.update(reconcile_began_at=Now() - timedelta(days=1))

    assert (reconcile_daily(), asked) == (2, [0, 1, 2, 3, 4] * 2)


@pytest.mark.usefixtures("delivered")
def test_it_ends_when_its_time_is_up_and_the_next_one_goes_on_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(daily, "BUDGET_S", 0)
    monkeypatch.setattr(daily, "WINDOW_SIZE", 2)
    ReceiverState.objects.exclude(name=RECEIVER).update(reconcile_began_at=Now())

    slices = []
    for _ in range(4):
        asked.clear()
        slices.append((reconcile_daily(), list(asked)))

    assert slices == [(1, [0, 1]), (1, [2, 3]), (0, [4]), (0, [])]


@pytest.mark.usefixtures("delivered")
def test_every_receiver_gets_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily, "BUDGET_S", 0)
    names = ReceiverState.objects.values_list("name", flat=True)

    for _ in names:
        reconcile_daily()

    assert not ReceiverState.objects.filter(reconcile_began_at=None).exists()
    assert asked == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("delivered")
def test_a_look_that_fails_is_told_and_keeps_nobody_from_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    audits.audit("probe.record_batch")(broken_audit)

    found = reconcile_daily()

    assert found == 2
    assert "The look at probe.record_batch failed; it is tried again next time." in messages(caplog)
    assert ReceiverState.objects.get(name="probe.record_batch").reconciled_to is not None


@pytest.mark.usefixtures("delivered")
def test_dead_deliveries_and_events_without_one_are_told(caplog: pytest.LogCaptureFixture) -> None:
    long_ago = (timezone.now() - timedelta(days=9)).isoformat()
    state = ReceiverState.objects.get(name=RECEIVER)
    state.types_seen = dict.fromkeys(state.types_seen, long_ago)
    state.save()
    theirs = Delivery.objects.filter(receiver="probe.record_batch").order_by("event__position")
    theirs.filter(pk=theirs[0].pk).update(state=DeliveryState.DEAD, finished_at=None)
    mine = Delivery.objects.filter(receiver=RECEIVER).order_by("event__position")
    mine.filter(pk=mine[0].pk).delete()

    reconcile_daily()

    (message,) = messages(caplog)
    assert "1 dead (probe.record_batch)" in message
    assert "1 undelivered (probe.record)" in message


def test_young_events_and_those_from_before_two_days_are_not_looked_at(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    age(timedelta(days=3))
    publish(3)
    drain()

    assert reconcile_daily() == 0
    assert asked == []


@pytest.mark.usefixtures("delivered")
def test_each_of_its_statements_goes_by_an_index_of_events() -> None:
    with CaptureQueriesContext(connection) as sent:
        reconcile_daily()

    outer = [sql for q in sent if 'FROM "events_event"' in (sql := q["sql"]).split("WHERE")[0]]
    bounded = ['"position" > ', '"event_id" < ', '"key" IN ']
    assert outer
    assert not [sql for sql in outer if not any(bound in sql for bound in bounded)]


@pytest.mark.usefixtures("delivered")
def test_a_look_with_nothing_to_do_is_two_statements() -> None:
    reconcile_daily()

    assert statements(reconcile_daily) <= 2  # PostgreSQL is asked for the time
