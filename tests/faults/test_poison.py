"""Poison: an event no receiver can take is dead after its attempts, and nobody else pays for it."""

from unittest import mock

import pytest
from django.db import OperationalError, connection

from events.delivery import conflict
from events.delivery.drain import drain as drain_queue
from events.models import Attempt, Delivery
from tests.conftest import Misbehave, Publish
from tests.probe.observe import delivery, effects, make_due
from tests.processes import descendants_of, wait_until, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

POISON, SAME_LANE, NEIGHBOUR = 1, 2, 3
ATTEMPTS = 3  # of the probe's receivers

# What a drain survives by itself.
RAISED = [
    "raise",
    "exit",
    "unencodable",
    "interrupt",
    "generator_exit",
    "recurse",
    "mute",
    "close",
    "conflict",
]
# What ends a worker process, or must be ended from outside.
DEADLY = ["kill", "exit_at_once", "memory", "swallow"]


def publish_all(publish: Publish) -> None:
    """Publish the poison, something behind it in its lane, and a neighbour; to one receiver."""
    publish(POISON, key="poisoned")
    publish(SAME_LANE, key="poisoned")
    publish(NEIGHBOUR, key="neighbour")
    Delivery.objects.exclude(receiver="probe.record").delete()


def is_dead() -> bool:
    """Tell whether the poisoned delivery has died; let no retry wait for its time."""
    try:
        make_due()
    except OperationalError:  # the poisoned worker has SQLite's write lock, for a while yet
        return False
    return delivery("record", event__data__number=POISON).state == "dead"


def only_the_poison_died() -> None:
    """Check that the attempts were those allowed, and who was delivered."""
    poisoned = delivery("record", event__data__number=POISON)
    assert (poisoned.state, poisoned.attempts) == ("dead", ATTEMPTS)
    assert Attempt.objects.filter(delivery=poisoned).count() == ATTEMPTS
    assert effects("record") == [NEIGHBOUR]
    behind = delivery("record", event__data__number=SAME_LANE)
    assert (behind.state in {"waiting", "pending"}, behind.attempts) == (True, 0)


@pytest.mark.parametrize("kind", RAISED)
def test_what_a_receiver_raises_counts_whatever_it_is(
    kind: str, publish: Publish, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conflict, "FIRST_DELAY_S", 0.0001)
    misbehave(POISON, kind)
    publish_all(publish)

    for _ in range(4 * ATTEMPTS):
        drain_queue("probe")
        if is_dead():
            break

    only_the_poison_died()
    assert connection.is_usable()


@pytest.mark.long
@pytest.mark.database("postgres")  # any would do: once is enough
@pytest.mark.parametrize("kind", DEADLY)
def test_what_kills_or_freezes_a_worker_dies_of_it(
    kind: str, publish: Publish, misbehave: Misbehave
) -> None:
    misbehave(POISON, kind)
    publish_all(publish)

    with worker("probe") as supervisor:
        wait_until(lambda: effects("record") == [NEIGHBOUR], timeout_s=60)
        wait_until(is_dead, timeout_s=180)
        alive = supervisor.poll() is None and descendants_of(supervisor.pid)

    assert alive
    only_the_poison_died()


def test_conflicts_are_not_counted_while_the_database_is_unwell(
    publish: Publish, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conflict, "FIRST_DELAY_S", 0.0001)
    misbehave(POISON, "conflict")
    publish_all(publish)

    with mock.patch("events.delivery.drain.is_database_well", return_value=False):
        for _ in range(2 * ATTEMPTS):
            make_due()
            drain_queue("probe")

    assert delivery("record", event__data__number=POISON).attempts == 0
    assert not Attempt.objects.exists()
