"""Replaying everything, killed anywhere and begun again, changes no effect."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.db import connection

from events.delivery import sweep
from events.models import Delivery, DeliveryState, Event
from events.operations.checksum import checksum_of, table_sums
from events.operations.replay import REPLAYABLE_STATES, replay
from events.operations.selection import Selection
from events.receivers import (
    Guarantee,
    all_receivers,
    connect_receiver,
    disconnect_receiver,
    get_receiver,
)
from tests.faults.forks import in_child
from tests.faults.scenarios import judge, publish
from tests.faults.stimuli import drain_everything, register_invited, set_scene
from tests.probe.models import Effect
from tests.probe.observe import make_due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

PEOPLE, EVENTS = 4, 4
KILLS = 20
LAST_STATEMENT = 120  # a whole replay sends some more


@pytest.fixture
def _only_exactly_once() -> Iterator[None]:
    """Leave out receivers whose calls may be repeated, and say so."""
    others = [r for r in all_receivers() if r.guarantee is not Guarantee.EXACTLY_ONCE]
    others.append(get_receiver("relay.fan_out"))  # it addresses one of them
    for receiver in others:
        disconnect_receiver(receiver.name)
    yield
    for receiver in others:
        connect_receiver(receiver)


@pytest.mark.usefixtures("_only_exactly_once")
def test_replaying_everything_killed_at_random_and_begun_again_changes_no_effect() -> None:
    # pytest-randomly has seeded `random`: --randomly-seed= kills at the same statements again.
    _make_effects()
    before = _effects()

    for _ in range(KILLS):
        # Some end before they come to their statement: then everything was replayed once more.
        in_child(dying_before_statement(random.randint(1, LAST_STATEMENT), _replay_everything))  # noqa: S311
        assert _effects() == before
    for _ in range(2):
        _replay_everything()

    assert _effects() == before
    assert set(Delivery.objects.values_list("state", flat=True)) == {DeliveryState.DONE}
    assert judge() == []


def _make_effects() -> None:
    """Let people register and things happen."""
    scene = set_scene()
    for _ in range(PEOPLE):
        register_invited(scene)
    publish(*range(EVENTS), lanes=2)
    drain_everything()


def _effects() -> dict[str, Any]:
    """Return what must stay: the sum of the apps' effects, the probe's, and what was published."""
    return {
        "apps": checksum_of(table_sums()),
        "probe": sorted(Effect.objects.values_list("receiver", "event_id")),
        "events": list(Event.objects.order_by("pk").values_list("event_id", flat=True)),
    }


def _replay_everything() -> None:
    """Do what an operator does after a crash: let a worker tidy up, replay it all, and deliver."""
    sweep.sweep()
    sweep.wake_unblocked()
    for state in REPLAYABLE_STATES:
        replay(Selection(state=state))
    make_due()
    drain_everything()


def dying_before_statement(number: int, work: Callable[[], None]) -> Callable[[], None]:
    """Return the work so that its process is killed before it sends its n-th statement."""
    passed = count(1)

    def execute(send: Any, *statement: Any) -> Any:
        if next(passed) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return send(*statement)

    def until_killed() -> None:
        with connection.execute_wrapper(execute):
            work()

    return until_killed
