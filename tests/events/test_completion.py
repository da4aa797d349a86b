"""Deliveries that are missing are added: once, and never for what was applied already."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from events.delivery import completion, sweep
from events.delivery.completion import Completion, add_missing_deliveries
from events.delivery.sweep import record_receivers
from events.models import Delivery, DeliveryState, Event, ReceiverState
from events.receivers import connect_receiver, disconnect_receiver, get_receiver
from tests.conftest import Drain, Publish
from tests.parallel import run_at_once
from tests.probe.observe import effects
from tests.probe.signals import Happened, followed

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "probe.record"


def add(limit: int = 100, receiver: str = RECEIVER) -> int:
    """Add what is missing of all the probe's events."""
    events = Event.objects.filter(type="probe.happened")
    return add_missing_deliveries(get_receiver(receiver), events, limit=limit)


def forget() -> None:
    """Leave events as a process would that does not know the receiver."""
    Delivery.objects.filter(receiver=RECEIVER).delete()


def test_a_missing_delivery_is_added_out_of_order_and_due(publish: Publish, drain: Drain) -> None:
    event = publish(1)
    forget()

    added = add()

    delivery = Delivery.objects.get(receiver=RECEIVER)
    assert added == 1
    assert (delivery.event_id, delivery.position) == (event.id, None)
    assert (delivery.queue, delivery.type, delivery.version) == ("probe", "probe.happened", 1)
    drain()
    assert effects("record") == [1]


def test_what_has_a_delivery_gets_no_second_one(publish: Publish) -> None:
    publish(1)

    assert add() == 0
    assert Delivery.objects.filter(receiver=RECEIVER).count() == 1


def test_an_applied_event_whose_delivery_was_pruned_is_not_delivered_again(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    forget()

    assert add() == 0
    assert not Delivery.objects.filter(receiver=RECEIVER).exists()


def test_at_most_the_limit_is_added_the_earliest_first(publish: Publish) -> None:
    published = [publish(number).id for number in range(3)]
    forget()

    assert add(limit=2) == 2
    added = Delivery.objects.filter(receiver=RECEIVER).values_list("event_id", flat=True)
    assert set(added) == set(published[:2])
    assert add(limit=2) == 1


def test_a_receiver_without_an_inbox_is_given_what_it_has_no_delivery_of(publish: Publish) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.call_outside").delete()

    assert add(receiver="probe.call_outside") == 1


def test_two_at_once_insert_each_delivery_once(publish: Publish) -> None:
    for number in range(20):
        publish(number)
    forget()

    run_at_once([add, add])

    pending = Delivery.objects.filter(receiver=RECEIVER, state=DeliveryState.PENDING)
    assert pending.count() == 20


def test_the_number_of_queries_does_not_grow_with_the_events(publish: Publish) -> None:
    for number in range(30):
        publish(number)
    forget()

    with CaptureQueriesContext(connection) as queries:
        add()

    assert len([q for q in queries if q["sql"].startswith(("SELECT", "INSERT"))]) == 2


def first_seen(ago: timedelta, **fields: Any) -> None:
    """Let the receiver have been seen some time ago, and no other."""
    ReceiverState.objects.create(name=RECEIVER, first_seen_at=timezone.now() - ago, **fields)


def occurred(event_id: Any, ago: timedelta) -> None:
    """Let an event have occurred some time ago."""
    Event.objects.filter(event_id=event_id).update(occurred_at=timezone.now() - ago)


def test_events_of_processes_that_did_not_know_a_new_receiver_are_delivered_to_it(
    publish: Publish, drain: Drain
) -> None:
    before_it_was_seen = publish(1)
    occurred(before_it_was_seen.id, timedelta(minutes=12))
    publish(2)
    forget()
    first_seen(timedelta(minutes=3))

    added = Completion().advance()

    assert added == 2
    drain()
    assert effects("record") == [1, 2]


def test_history_from_before_a_receiver_came_is_not_owed_to_it(publish: Publish) -> None:
    occurred(publish(1).id, timedelta(minutes=14))
    forget()
    first_seen(timedelta(minutes=3))

    assert Completion().advance() == 0


def test_a_receiver_that_is_known_for_a_day_is_complete(publish: Publish) -> None:
    publish(1)
    forget()
    first_seen(timedelta(hours=24, seconds=1))

    assert Completion().advance() == 0


def test_what_may_have_been_pruned_is_not_delivered_again(publish: Publish) -> None:
    occurred(publish(1).id, timedelta(minutes=5))
    forget()
    first_seen(timedelta(hours=1), pruned_before=timezone.now() - timedelta(minutes=4))

    assert Completion().advance() == 0


def test_more_than_a_chunk_is_completed_look_by_look(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "CHUNK_SIZE", 2)
    for number in range(5):
        occurred(publish(number).id, timedelta(minutes=5))
    forget()
    first_seen(timedelta(minutes=3))
    sweeper = Completion()

    assert [sweeper.advance() for _ in range(4)] == [2, 2, 1, 0]


def test_a_commit_that_comes_late_is_seen_and_what_is_settled_is_not_read_again(
    publish: Publish,
) -> None:
    settled, late, newest = publish(1), publish(2), publish(3)
    occurred(settled.id, timedelta(minutes=5))
    first_seen(timedelta(minutes=6))
    sweeper = Completion()
    sweeper.advance()
    lost = Delivery.objects.filter(receiver=RECEIVER, event_id__in=[settled.id, late.id])
    lost.delete()  # stands for transactions that were still open at the first look

    sweeper.advance()

    delivered = Delivery.objects.filter(receiver=RECEIVER).values_list("event_id", flat=True)
    assert set(delivered) == {late.id, newest.id}


def test_a_look_that_finds_nothing_new_takes_no_turn_to_write(publish: Publish) -> None:
    publish(1)
    first_seen(timedelta(minutes=3))

    record_receivers()

    with CaptureQueriesContext(connection) as queries:
        record_receivers()
        added = Completion().advance()

    assert added == 0
    assert [q["sql"] for q in queries if not q["sql"].startswith("SELECT")] == []


class Clock:
    """A process's clock that tests set."""

    now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the sweeper's clock."""
    made = Clock()
    monkeypatch.setattr(completion, "monotonic", made)
    return made


@pytest.fixture
def sweeper(publish: Publish, clock: Clock) -> Completion:
    """Return a sweeper that rests: nothing has come for more than two minutes."""
    occurred(publish(1).id, timedelta(minutes=5))
    first_seen(timedelta(minutes=6))
    made = Completion()
    made.advance()
    clock.now_s += 121
    return made


def test_while_nothing_comes_receivers_are_not_looked_at_one_by_one(
    sweeper: Completion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(3):  # the receivers, the time, the end of the log
        assert sweeper.advance() == 0


def test_what_comes_after_a_rest_is_completed(sweeper: Completion, publish: Publish) -> None:
    publish(2)
    forget()

    assert sweeper.advance() > 0


def test_a_receiver_that_comes_during_a_rest_is_completed(sweeper: Completion) -> None:
    other = "probe.record_batch"
    Delivery.objects.filter(receiver=other).delete()
    ReceiverState.objects.create(name=other, first_seen_at=timezone.now() - timedelta(minutes=6))

    assert sweeper.advance() == 1


def test_a_commit_that_came_very_late_is_met_within_some_minutes_of_rest(
    sweeper: Completion, publish: Publish, clock: Clock
) -> None:
    late = publish(2)  # its position was taken before that of the last event
    forget()
    sweeper.advance()
    clock.now_s += 121
    Delivery.objects.filter(receiver=RECEIVER, event_id__in=[late.id]).delete()

    at_rest = sweeper.advance()
    clock.now_s += completion.LOOK_AGAIN_S

    assert (at_rest, sweeper.advance()) == (0, 1)


def listen_to_followed() -> None:
    """Let the next release's receiver listen to a second type of event."""
    receiver = get_receiver(RECEIVER)
    disconnect_receiver(RECEIVER)
    connect_receiver(replace(receiver, signals=(*receiver.signals, followed)))


@pytest.fixture
def former_release() -> Iterator[None]:
    """Restore the receiver as it is declared."""
    declared = get_receiver(RECEIVER)
    yield
    disconnect_receiver(RECEIVER)
    connect_receiver(declared)


def test_a_type_that_a_known_receiver_comes_to_listen_to_is_completed_too(
    former_release: None,
) -> None:
    first_seen(timedelta(days=30))
    sweep.record_receivers()
    with transaction.atomic():
        old, recent = (followed.publish(Happened(key="a", number=n)) for n in range(2))
    occurred(old.id, timedelta(minutes=14))
    listen_to_followed()
    sweep.record_receivers()

    Completion().advance()

    owed = Delivery.objects.filter(receiver=RECEIVER, type=followed.type)
    assert list(owed.values_list("event_id", flat=True)) == [recent.id]


def test_what_a_receiver_listened_to_at_first_dates_from_when_it_was_seen(
    former_release: None,
) -> None:
    first_seen(timedelta(days=30))
    sweep.record_receivers()
    listen_to_followed()
    sweep.record_receivers()

    state = ReceiverState.objects.get(name=RECEIVER)

    assert state.type_seen_at("probe.happened") == state.first_seen_at
    added_at = state.type_seen_at("probe.followed")
    assert added_at
    assert added_at > state.first_seen_at
    assert state.type_seen_at("probe.unheard_of") is None
