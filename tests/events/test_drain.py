"""Draining delivers each event once to each receiver, in order, and never lets one harm another."""

from unittest import mock

import pytest
from django.db import OperationalError, transaction
from django.db.models.functions import Now

from events.delivery import effects as effects_module
from events.delivery import leases, settle, sweep
from events.delivery.claim import claim
from events.delivery.drain import drain as drain_queue
from events.models import Attempt, Delivery, DeliveryState, Event, ReceiverState
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.models import ProcessedEvent
from tests.probe.observe import claim_all, delivery, effects, let_leases_expire, make_due
from tests.probe.signals import Happened, happened
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_receiver_gets_the_event_once(publish: Publish, drain: Drain) -> None:
    publish(1)

    drain()

    for receiver in ("record", "record_batch", "call_outside", "call_once"):
        assert effects(receiver) == [1]
        assert delivery(receiver).state == DeliveryState.DONE


def test_draining_again_changes_nothing(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()

    assert drain() == 0
    assert effects("record") == [1]


def test_a_follow_on_event_is_recorded_with_its_cause(publish: Publish, drain: Drain) -> None:
    event = publish(1)

    drain()

    follow_on = Event.objects.get(type="probe.followed")
    assert follow_on.causation_id == event.id
    assert follow_on.correlation_id == event.correlation_id


def test_a_delivery_repeated_after_its_effect_committed_has_no_second_effect(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    Delivery.objects.filter(receiver="probe.record").update(
        state=DeliveryState.PENDING, due_at=Now(), finished_at=None
    )

    drain()

    assert effects("record") == [1]
    assert delivery("record").state == DeliveryState.DONE


def test_one_failing_event_does_not_hold_up_the_others(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(2, "raise")
    for number in range(1, 6):
        publish(number, key=f"key-{number}")

    drain()

    assert sorted(effects("record")) == [1, 3, 4, 5]
    assert sorted(effects("record_batch")) == [1, 3, 4, 5]
    assert delivery("record_batch", event__data__number=2).state == DeliveryState.PENDING


def test_a_failed_attempt_is_kept_without_personal_data(
    publish: Publish, misbehave: Misbehave
) -> None:
    misbehave(1, "raise")
    publish(1)

    drain_queue("probe")

    attempt = Attempt.objects.get(delivery=delivery("record"))
    assert attempt.number == 1
    assert attempt.error_class.endswith("Broken")
    assert "someone@example.com" not in attempt.error_message + attempt.traceback
    assert "told to fail" in attempt.error_message
    assert delivery("record").fingerprint == attempt.fingerprint


def test_a_delivery_is_dead_after_its_allowed_attempts(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "raise")
    publish(1)

    for _ in range(4):
        make_due()
        drain()

    dead = delivery("record")
    assert (dead.state, dead.attempts) == (DeliveryState.DEAD, 3)
    assert dead.failures.count() == 3
    assert effects("record") == []


def test_when_the_cause_is_gone_a_failed_delivery_succeeds_by_itself(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    fault = misbehave(1, "raise")
    publish(1)
    drain()

    fault.delete()
    make_due()
    drain()

    assert effects("record") == effects("record_batch") == [1]


def test_a_permanent_failure_is_dead_at_once(publish: Publish, misbehave: Misbehave) -> None:
    misbehave(1, "permanent")
    publish(1)

    drain_queue("probe")

    assert (delivery("record").state, delivery("record").attempts) == (DeliveryState.DEAD, 1)


def test_a_receiver_that_asks_for_later_is_not_charged_an_attempt(
    publish: Publish, misbehave: Misbehave
) -> None:
    misbehave(1, "later")
    publish(1)

    drain_queue("probe", budget_s=0.01)

    postponed = delivery("record")
    assert (postponed.state, postponed.attempts) == (DeliveryState.PENDING, 0)
    assert not postponed.failures.exists()


def test_a_call_made_at_most_once_is_dead_after_one_failure(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "raise")
    publish(1)

    drain()

    assert delivery("call_once").state == DeliveryState.DEAD
    assert delivery("call_once").attempts == 1


@pytest.mark.parametrize("kind", ["hang", "exit"])
def test_a_receiver_that_hangs_or_exits_is_stopped_and_rolled_back(
    kind: str, publish: Publish, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects_module, "time_limit_s", lambda receiver: 0.1)
    misbehave(1, kind)
    publish(1, key="bad")
    publish(2, key="good")

    def the_good_one_is_done() -> bool:
        drain_queue("probe", budget_s=0.5)  # a slow machine may spend it on the bad one
        return effects("record") == [2]

    wait_until(the_good_one_is_done)

    assert effects("record") == [2]
    assert delivery("record", key="bad").last_error.startswith("events.delivery.effects.Receiver")


def test_events_of_a_key_keep_their_order_behind_a_failure(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    fault = misbehave(1, "raise")
    for number in (1, 2, 3):
        publish(number)
    publish(9, key="somebody else")

    drain()
    assert effects("record") == [9]
    assert delivery("record", event__data__number=2).state == DeliveryState.WAITING

    fault.delete()
    make_due()
    drain()
    assert effects("record") == [9, 1, 2, 3]
    assert effects("record_batch") == [9, 1, 2, 3]


def test_successors_of_a_dead_delivery_wait_until_it_is_replayed_or_skipped(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    publish(1)
    publish(2)

    drain()
    sweep.sweep()
    sweep.wake_unblocked()
    drain()

    assert effects("record") == []
    assert delivery("record", event__data__number=2).state == DeliveryState.WAITING


def test_the_sweep_wakes_what_waits_behind_nothing(publish: Publish, drain: Drain) -> None:
    publish(1)
    Delivery.objects.update(state=DeliveryState.WAITING, due_at=None)

    sweep.wake_unblocked()
    drain()

    assert effects("record") == [1]


def test_a_paused_receiver_is_not_claimed_and_others_go_on(publish: Publish, drain: Drain) -> None:
    ReceiverState.objects.create(name="probe.record", paused_at=Now(), paused_by="staff")
    publish(1)

    drain()

    assert effects("record") == []
    assert effects("record_batch") == [1]


@pytest.mark.parametrize(
    "unknown", [{"receiver": "later.receiver"}, {"type": "later.type"}, {"version": 2}]
)
def test_what_this_release_does_not_know_is_left_alone(
    unknown: dict[str, object], publish: Publish, drain: Drain
) -> None:
    publish(1)
    Delivery.objects.update(**unknown) if "receiver" not in unknown else (
        Delivery.objects.filter(receiver="probe.record").update(**unknown)
    )

    drain()

    assert effects("record") == []
    assert Delivery.objects.filter(**unknown, state=DeliveryState.PENDING).exists()


def test_the_attempt_is_counted_before_the_receiver_runs(publish: Publish) -> None:
    publish(1)

    claimed = claim_all("probe")

    assert {row.attempts for row in claimed} == {1}
    assert set(Delivery.objects.filter(queue="probe").values_list("attempts", "state")) == {
        (1, DeliveryState.RUNNING)
    }


def test_two_claims_never_share_a_delivery(publish: Publish) -> None:
    for number in range(4):
        publish(number, key=str(number))

    first = {row.pk for row in claim("probe", 4)}
    second = {row.pk for row in claim("probe", 100)}

    assert len(first) == 4
    assert len(first | second) == 8


def test_a_worker_that_overslept_its_lease_changes_nothing(publish: Publish) -> None:
    publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    stale = claim("probe", 10)
    let_leases_expire()
    leases.release_expired()
    make_due()
    drain_queue("probe")

    with pytest.raises(settle.LeaseLost), transaction.atomic():
        settle.finish(stale)
    settle.hand_back(stale)

    assert effects("record") == [1]
    assert delivery("record").state == DeliveryState.DONE


def test_a_shared_claim_that_lost_its_worker_is_not_counted_and_runs_alone_next(
    publish: Publish,
) -> None:
    publish(1)
    publish(2, key="other")
    claim_all("probe")
    let_leases_expire()

    leases.release_expired()

    released = Delivery.objects.filter(queue="probe")
    assert set(released.values_list("state", "attempts", "run_alone")) == {
        (DeliveryState.PENDING, 0, True)
    }
    assert len(claim("probe", 10)) == 1


def test_a_delivery_that_kills_its_worker_alone_dies_of_it(publish: Publish) -> None:
    publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()

    for _ in range(3):
        make_due()
        assert len(claim("probe", 1)) == 1
        let_leases_expire()
        leases.release_expired()

    assert delivery("record").state == DeliveryState.DEAD
    assert delivery("record").failures.count() == 3


def test_the_leases_of_dead_local_processes_are_released_at_once(publish: Publish) -> None:
    publish(1)
    claim_all("probe")
    Delivery.objects.filter(queue="probe").update(
        lease_owner=f"{leases_owner_prefix()}:999999999:1"
    )

    released = leases.release_dead_local()

    assert released == 2


def test_the_leases_of_the_living_and_of_other_machines_are_left(publish: Publish) -> None:
    publish(1)
    claim("probe", 1)
    claimed_elsewhere = claim("probe", 1)
    Delivery.objects.filter(pk=claimed_elsewhere[0].pk).update(lease_owner="elsewhere:1:1")

    assert leases.release_dead_local() == 0


def test_a_conflict_is_repeated_and_not_counted(publish: Publish) -> None:
    publish(1)
    finish = settle.finish
    attempts = mock.Mock(side_effect=[OperationalError("database is locked"), None, None])

    def conflicting(deliveries: list[Delivery]) -> None:
        attempts()
        finish(deliveries)

    with mock.patch.object(settle, "finish", conflicting):
        drain_queue("probe")

    assert effects("record") == [1]
    assert not Attempt.objects.exists()


def test_an_effect_and_its_inbox_row_commit_together_or_not_at_all(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "raise")
    publish(1)

    drain()

    assert not ProcessedEvent.objects.exists()
    assert effects("record_batch") == []


def test_a_drain_hands_back_what_it_could_not_begin_in_time(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.delivery.drain.BEGIN_WITHIN_S", -1)
    publish(1)

    drain_queue("probe", budget_s=0.05)

    assert delivery("record").state == DeliveryState.PENDING
    assert delivery("record").attempts == 0


def test_a_thousand_events_are_drained_in_bulk(drain: Drain) -> None:
    with transaction.atomic():
        happened.publish_many(Happened(key=str(n), number=n) for n in range(1000))
    Delivery.objects.exclude(receiver="probe.record_batch").delete()

    drain()

    assert len(effects("record_batch")) == 1000


def leases_owner_prefix() -> str:
    """Return the part of a lease owner that names this machine."""
    from events.delivery.owner import boot_id

    return boot_id()
