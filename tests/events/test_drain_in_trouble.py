"""What a drain does when receivers hang, conflict or die: nobody else pays for it."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from unittest import mock

import pytest
from django.db import OperationalError, transaction

from events.delivery import conflict, effects, leases, settle, sweep
from events.delivery.claim import claim
from events.delivery.drain import drain as drain_queue
from events.delivery.pace import FIRST, Pace
from events.delivery.timelimit import ReceiverTimedOut, call_within
from events.models import Attempt, Delivery, DeliveryState
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.observe import delivery, let_leases_expire, make_due
from tests.probe.observe import effects as effects_of
from tests.probe.signals import Happened, happened

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a receiver run for a tenth of a second only, and a claim begin within as much."""
    monkeypatch.setattr(effects, "time_limit_s", lambda receiver: 0.1)
    monkeypatch.setattr("events.delivery.drain.BEGIN_WITHIN_S", 0.1)


@pytest.fixture
def quick_conflicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat after conflicts without waiting long."""
    monkeypatch.setattr(conflict, "FIRST_DELAY_S", 0.0001)


def only(receiver: str) -> None:
    """Leave deliveries to one receiver only."""
    Delivery.objects.exclude(receiver=f"probe.{receiver}").delete()


def publish_many(numbers: range, key: str | None = None) -> None:
    """Publish events, each with a key of its own unless one is given."""
    with transaction.atomic():
        happened.publish_many(Happened(key=key or f"key-{n}", number=n) for n in numbers)


def test_a_hanging_event_of_a_batch_is_charged_and_its_companions_are_delivered(
    short_limit: None, misbehave: Misbehave
) -> None:
    misbehave(3, "hang")
    publish_many(range(10))
    only("record_batch")

    for _ in range(12):
        drain_queue("probe", budget_s=0.3)

    assert sorted(effects_of("record_batch")) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert delivery("record_batch", event__data__number=3).attempts >= 1


def test_a_time_limit_inside_a_query_leaves_a_usable_connection(
    short_limit: None, publish: Publish, misbehave: Misbehave
) -> None:
    misbehave(1, "slow_sql")
    publish(1, key="slow")
    publish(2, key="quick")
    only("record")

    drain_queue("probe", budget_s=0.5)
    drain_queue("probe", budget_s=0.5)

    assert effects_of("record") == [2]
    assert Attempt.objects.filter(delivery__key="slow").count() == 1


def test_an_error_that_cannot_be_encoded_is_recorded_all_the_same(
    publish: Publish, misbehave: Misbehave
) -> None:
    misbehave(1, "unencodable")
    publish(1)
    only("record")

    drain_queue("probe")

    assert "\\ud800" in Attempt.objects.get().error_message


@pytest.mark.parametrize("receiver", ["call_once", "call_outside"])
def test_a_call_that_leaves_the_system_is_not_repeated_by_a_conflict(
    receiver: str, publish: Publish, quick_conflicts: None
) -> None:
    publish(1)
    only(receiver)
    finish = settle.finish
    outcomes = iter([OperationalError("database is locked")] * 2)

    def conflicting(deliveries: list[Delivery]) -> None:
        for outcome in outcomes:
            raise outcome
        finish(deliveries)

    with mock.patch.object(settle, "finish", conflicting):
        drain_queue("outside")

    assert effects_of(receiver) == [1]
    assert delivery(receiver).state == DeliveryState.DONE


def test_calls_made_at_most_once_are_claimed_one_by_one(publish: Publish) -> None:
    for number in range(3):
        publish(number, key=str(number))
    only("call_once")

    assert len(claim("outside", 10)) == 1


def test_a_failure_is_recorded_although_its_verdict_met_a_conflict(
    publish: Publish, misbehave: Misbehave, quick_conflicts: None
) -> None:
    misbehave(1, "raise")
    publish(1)
    only("record")
    record = settle.record_attempt
    outcomes = iter([OperationalError("database is locked")])

    def conflicting(*args: object, **kwargs: object) -> None:
        for outcome in outcomes:
            raise outcome
        record(*args, **kwargs)  # type: ignore[arg-type]

    with mock.patch.object(settle, "record_attempt", conflicting):
        drain_queue("probe")

    assert Attempt.objects.count() == 1


def test_conflicts_without_end_are_handed_back_uncounted(
    publish: Publish, quick_conflicts: None
) -> None:
    publish(1)
    only("record")

    with mock.patch.object(settle, "finish", side_effect=OperationalError("database is locked")):
        drain_queue("probe")

    assert (delivery("record").state, delivery("record").attempts) == (DeliveryState.PENDING, 0)


def test_many_parked_events_of_one_lane_hide_nobody(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(0, "permanent")
    publish_many(range(200), key="unlucky")
    publish(999, key="innocent")
    only("record")

    drain_queue("probe")

    assert effects_of("record") == [999]


def test_a_lane_keeps_its_order_after_its_worker_died(publish: Publish, drain: Drain) -> None:
    for number in range(3):
        publish(number)
    only("record")
    claim("probe", 10)
    let_leases_expire()
    leases.release_expired()
    first = claim("probe", 10)
    settle.hand_back(first, run_alone=False)  # as after RetryLater

    drain()

    assert [row.event.data["number"] for row in first] == [0]
    assert effects_of("record") == [0, 1, 2]


def test_deliveries_follow_their_receiver_to_another_queue(publish: Publish, drain: Drain) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.record").update(queue="abandoned")

    sweep.look_through_open_deliveries()
    drain()

    assert effects_of("record") == [1]
    assert not Delivery.objects.filter(queue="abandoned").exists()


def test_a_stopping_worker_claims_nothing_more(
    publish: Publish, drain: Drain, monkeypatch: pytest.MonkeyPatch, tmp_path: str
) -> None:
    publish(1)
    monkeypatch.setenv("USHER_STOPPING", str(tmp_path))

    assert drain() == 0
    assert delivery("record").attempts == 0


@pytest.fixture
def alarm_restored() -> Iterator[None]:
    """Check that the alarm and its handler are as they were."""
    handler = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is handler


def work_until(moment: float) -> None:
    """Keep the processor busy."""
    while time.perf_counter() < moment:
        pass


def test_a_limit_reached_at_the_very_end_leaves_no_alarm_behind(alarm_restored: None) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    for number in range(3000):
        until = time.perf_counter() + 0.0005 + number % 7 * 0.00001
        with suppress(ReceiverTimedOut):
            call_within(0.0005, work_until, until)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) is handler


def test_an_alarm_that_was_running_goes_on(alarm_restored: None) -> None:
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        call_within(5, lambda argument: None, None)
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_the_claim_size_follows_the_work_and_not_the_waiting() -> None:
    pace = Pace()

    with pace.working():
        pass
    pace.adapt(FIRST)

    assert pace.limit == 2 * FIRST


def test_slow_work_shrinks_the_claim() -> None:
    pace = Pace()

    with mock.patch("events.delivery.pace.time.monotonic", side_effect=[0.0, 30.0]), pace.working():
        pass
    pace.adapt(FIRST)

    assert pace.limit == FIRST // 2


def test_claims_are_not_shrunk_where_that_only_makes_each_delivery_dearer() -> None:
    pace = Pace()
    limits = []

    for _ in range(20):  # on a busy machine, where a block takes 25 ms whatever is in it
        pace._worked_s = 0.025 + 0.001 * pace.limit
        pace.adapt(pace.limit)
        limits.append(pace.limit)

    assert min(limits) >= FIRST // 2


def test_claims_of_slow_deliveries_are_shrunk_down_to_one() -> None:
    pace = Pace()

    for _ in range(10):
        pace._worked_s = 0.005 + 0.5 * pace.limit
        pace.adapt(pace.limit)

    assert pace.limit == 1


@pytest.mark.parametrize("text", ["database or disk is full", "disk I/O error"])
def test_a_full_disk_is_nobodys_failure_however_long_it_lasts(
    text: str, publish: Publish, drain: Drain, quick_conflicts: None
) -> None:
    publish(1)
    only("record")
    with mock.patch.object(effects, "_call", side_effect=OperationalError(text)):
        for _ in range(5):
            make_due()
            drain_queue("probe")
    spared = delivery("record")

    make_due()
    drain()

    assert (spared.state, spared.attempts) == (DeliveryState.PENDING, 0)
    assert effects_of("record") == [1]


def test_due_again_after_its_worker_died(publish: Publish, drain: Drain) -> None:
    publish(1)
    only("record")
    claim("probe", 1)
    let_leases_expire()
    leases.release_expired()

    make_due()
    drain()

    assert effects_of("record") == [1]
