"""One delivery or one receiver is intervened with, in one transaction with the record of it."""

from collections.abc import Callable
from threading import Barrier, Thread

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection, transaction

from accounts.models import User
from events.models import Delivery, DeliveryState, ReceiverState
from events.operations import intervention
from events.operations.intervention import WrongState
from events.operations.signature import Unsigned
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = "probe.record"


@pytest.fixture
def operator() -> User:
    """Return who intervenes."""
    return User.objects.create_user("ada@example.com", "irrelevant")


@pytest.fixture
def dead(publish: Publish, drain: Drain, misbehave: Misbehave) -> Delivery:
    """Return a dead delivery, whose cause is mended."""
    fault = misbehave(1, "permanent")
    publish(1)
    drain()
    fault.delete()
    return Delivery.objects.get(receiver=RECORD)


def test_a_replay_runs_again_and_is_on_record(dead: Delivery, operator: User, drain: Drain) -> None:
    replayed = intervention.replay_delivery(dead.pk, by=operator, reason=" mended ")
    drain()

    dead.refresh_from_db()
    entry = LogEntry.objects.get()
    assert (replayed.state, replayed.attempts) == (DeliveryState.PENDING, 0)
    assert dead.state == DeliveryState.DONE
    assert (entry.user, entry.get_change_message()) == (operator, "Replayed: mended")
    assert entry.object_id == str(dead.pk)


def test_nothing_is_on_record_that_is_rolled_back(dead: Delivery, operator: User) -> None:
    with transaction.atomic():
        intervention.skip_delivery(dead.pk, by=operator, reason="x")
        transaction.set_rollback(True)

    dead.refresh_from_db()
    assert dead.state == DeliveryState.DEAD
    assert not LogEntry.objects.exists()


def test_of_many_who_skip_at_once_one_does(dead: Delivery, operator: User) -> None:
    outcomes = at_once(6, lambda: intervention.skip_delivery(dead.pk, by=operator, reason="enough"))

    assert sorted(outcomes) == ["WrongState"] * 5 + ["done"]
    assert LogEntry.objects.count() == 1


def test_a_skip_needs_a_reason_and_a_state_that_is_open(
    dead: Delivery, operator: User, drain: Drain
) -> None:
    with pytest.raises(Unsigned):
        intervention.skip_delivery(dead.pk, by=operator, reason=" ")
    intervention.replay_delivery(dead.pk, by=operator)
    drain()
    with pytest.raises(WrongState):
        intervention.skip_delivery(dead.pk, by=operator, reason="late")

    assert [entry.get_change_message() for entry in LogEntry.objects.all()] == ["Replayed"]


def test_of_many_who_pause_at_once_one_is_on_record(operator: User) -> None:
    outcomes = at_once(
        6, lambda: intervention.pause_receiver(RECORD, by=operator, reason="a fault")
    )

    assert outcomes == ["done"] * 6
    assert LogEntry.objects.get().get_change_message() == "Paused: a fault"
    assert ReceiverState.objects.get(pk=RECORD).paused_by == "ada@example.com"


def at_once(number: int, act: Callable[[], object]) -> list[str]:
    """Act in as many threads at once; return how it went for each."""
    barrier, outcomes = Barrier(number), []

    def run() -> None:
        barrier.wait()
        try:
            act()
            outcomes.append("done")
        except WrongState as error:
            outcomes.append(type(error).__name__)
        finally:
            connection.close()

    threads = [Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
