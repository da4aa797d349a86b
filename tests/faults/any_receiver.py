"""What the kit does to any receiver, whatever it does, and how it judges what came of it.

Nothing here knows a receiver by name. Each function takes one of `receiver_cases()`, works in the
database of the test, and returns what is wrong, in words: an empty list is what tests ask for.
"""

import copy
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock
from uuid import uuid4

from django.db.models import F
from django.db.models.functions import Now

from events.delivery import effects, settle, sweep, timelimit
from events.delivery.claim import claim
from events.delivery.conflict import repeated
from events.delivery.drain import drain
from events.delivery.owner import current_owner
from events.models import Delivery, DeliveryState
from events.operations.replay import replay
from events.operations.selection import Selection
from events.receivers import Guarantee, Receiver, all_receivers, get_receiver
from events.retry import RetryLater
from events.signals import get_signal
from tests.faults.crashpoints import CrashPoint, Stage, points_of
from tests.faults.effects import Effects, change, snapshot
from tests.faults.forks import crash, in_child
from tests.faults.stimuli import drain_everything, provoke
from tests.parallel import run_at_once
from tests.probe.observe import make_due

THREADS = 8
COPIES = 3
SHUFFLED = 4  # events
LEASE = timedelta(seconds=30)

ERRORS: dict[Stage, Exception] = {
    Stage.FAILURE: RuntimeError("the receiver fails, as the test asked"),
    Stage.HAND_BACK: RetryLater(0),
}

# Receivers that do the same with every type.
STANDS_FOR_ALL = {"relay.fan_out": "accounts.risk_check_requested"}

Problems: TypeAlias = list[str]


@dataclass(frozen=True, slots=True)
class Case:
    """A receiver and one of the types it listens to."""

    receiver: str
    type: str

    def __str__(self) -> str:
        return f"{self.receiver}<-{self.type}"


def receiver_cases() -> list[Case]:
    """Return every registered receiver with every type it listens to, or one that stands for all.

    Targeted receivers listen to none: test_targeted.py kills what calls them.
    """
    return [
        Case(r.name, signal.type)
        for r in all_receivers()
        for signal in r.signals
        if signal.type == STANDS_FOR_ALL.get(r.name, signal.type)
    ]


def crash_cases() -> list[tuple[Case, CrashPoint]]:
    """Return every receiver with every point at which its delivery can crash."""
    return [
        (case, point)
        for case in receiver_cases()
        for point in _points_of(get_receiver(case.receiver))
    ]


def _points_of(receiver: Receiver) -> tuple[CrashPoint, ...]:
    stages = [Stage.DRAIN, Stage.FAILURE, Stage.HAND_BACK, Stage.SWEEP]
    if receiver.guarantee is Guarantee.EXACTLY_ONCE:
        stages.append(Stage.EFFECT_BLOCK)
    return points_of(*stages)


@cache
def undisturbed(case: Case, times: int = 1) -> Effects:
    """Return what the receiver's deliveries change where nothing goes wrong.

    It is found out once per process: not under a patch that breaks the backbone.
    """
    _owed(case, times)
    before = snapshot()
    drain_everything()
    return change(before, snapshot())


def problems_of_one_delivery(case: Case) -> Problems:
    """Deliver once, undisturbed: the control run itself must be sound."""
    return problems_after(case, lambda owed: drain_everything())


def problems_after_a_crash(case: Case, point: CrashPoint) -> Problems:
    """Deliver in a process that dies at the point; a sweep and another drain follow."""
    receiver = get_receiver(case.receiver)
    lost = point.holds_lease or point.stage in {Stage.FAILURE, Stage.SWEEP}

    def crash_and_recover(owed: list[Delivery]) -> None:
        crash_at(receiver, point)
        recover()

    is_dead = lost and receiver.guarantee is Guarantee.AT_MOST_ONCE
    state = DeliveryState.DEAD if is_dead else DeliveryState.DONE
    return problems_after(case, crash_and_recover, states={state})


def problems_of_two_deliveries(case: Case) -> Problems:
    """Deliver, and deliver all of it again, as an operator's replay does."""
    allowed = 1 if get_receiver(case.receiver).guarantee is Guarantee.EXACTLY_ONCE else 2

    def deliver_twice(owed: list[Delivery]) -> None:
        drain_everything()
        replay(Selection(state=DeliveryState.DONE, receiver=case.receiver))
        drain_everything()

    return problems_after(case, deliver_twice, calls_allowed=allowed)


def problems_of_shuffled_copies(case: Case, seed: int) -> Problems:
    """Deliver some events three times each, in any order, by eight threads at once."""
    receiver = get_receiver(case.receiver)

    def deliver_copies(owed: list[Delivery]) -> None:
        copies = owed * COPIES
        random.Random(seed).shuffle(copies)  # noqa: S311
        shares = [copies[number::THREADS] for number in range(THREADS)]
        if receiver.guarantee is Guarantee.EXACTLY_ONCE:
            run_at_once([partial(_lease_and_apply, receiver, share) for share in shares])
        else:  # no inbox: what keeps these from doubling is that nobody claims them twice
            run_at_once([partial(drain, receiver.queue)] * THREADS)
        drain_everything()  # what followed

    return problems_after(case, deliver_copies, times=SHUFFLED)


def crash_at(receiver: Receiver, point: CrashPoint) -> None:
    """Let a process that serves the receiver's queue die at the point."""
    if point.stage is Stage.SWEEP:
        in_child(lambda: claim(receiver.queue, 1))  # a worker that ends holding a lease
        crash(sweep.sweep, point)
    else:
        with _ending_with(ERRORS.get(point.stage)):
            crash(partial(drain, receiver.queue), point)


def recover() -> None:
    """Do what a worker does after a crash, with the waiting left out."""
    sweep.sweep()
    make_due()
    drain_everything()


def _owed(case: Case, times: int) -> list[Delivery]:
    return provoke(get_receiver(case.receiver), get_signal(case.type), times=times)


def problems_after(
    case: Case,
    deliver: Callable[[list[Delivery]], object],
    *,
    times: int = 1,
    states: Collection[str] = (DeliveryState.DONE,),
    calls_allowed: int = 1,
) -> Problems:
    """Make the receiver be owed something, deliver it somehow, and return what is wrong then."""
    receiver = get_receiver(case.receiver)
    expected = undisturbed(case, times)
    with _noted_calls(receiver) as calls:
        owed = _owed(case, times)
        before = snapshot()
        deliver(owed)
        changed = change(before, snapshot())
        problems = _problems_of_state(owed, states)
        if receiver.guarantee is Guarantee.EXACTLY_ONCE:
            problems += _differences(expected, changed)
            problems += _problems_of_inbox(receiver, owed)
        elif receiver.guarantee is Guarantee.AT_LEAST_ONCE:
            problems += [
                f"{what} is missing" for what in expected if changed[what] < expected[what]
            ]
            problems += [f"{d.event_id} was not called" for d in owed if not calls(d)]
        else:
            problems += [f"{d.event_id} was called twice" for d in owed if calls(d) > calls_allowed]
        return problems


def _problems_of_state(owed: Sequence[Delivery], states: Collection[str]) -> Problems:
    now = Delivery.objects.filter(pk__in=[delivery.pk for delivery in owed])
    return [
        f"{delivery} is {delivery.state} after {delivery.attempts} attempts ({delivery.last_error})"
        for delivery in now
        if delivery.state not in states or not 1 <= delivery.attempts <= COPIES
    ]


def _differences(expected: Effects, changed: Effects) -> Problems:
    return [
        f"{what} changed by {changed[what]}, not by {expected[what]}"
        for what in sorted({*expected, *changed})
        if changed[what] != expected[what]
    ]


def _problems_of_inbox(receiver: Receiver, owed: Sequence[Delivery]) -> Problems:
    assert receiver.inbox is not None
    rows = receiver.inbox._default_manager.filter(receiver=receiver.name)
    found = Counter(rows.values_list("event_id", "target"))
    return [
        f"{delivery} has {found[delivery.event_id, delivery.target]} inbox rows"
        for delivery in owed
        if found[delivery.event_id, delivery.target] != 1
    ]


@contextmanager
def _noted_calls(receiver: Receiver) -> Iterator[Callable[[Delivery], int]]:
    """Note each call of the receiver in a file, which outlives the process that made it."""
    with tempfile.TemporaryDirectory() as directory:
        notes = Path(directory, "calls")
        notes.touch()
        original = timelimit.call_within

        def call(limit_s: float, function: Callable[[Any], None], argument: Any) -> None:
            if function is receiver.function:
                events = argument if receiver.batch else [argument]
                with notes.open("a") as file:
                    file.writelines(f"{event.id}\n" for event in events)
            original(limit_s, function, argument)

        with mock.patch.object(effects, "call_within", call):
            yield lambda delivery: notes.read_text().split().count(str(delivery.event_id))


@contextmanager
def _ending_with(error: Exception | None) -> Iterator[None]:
    """Let every receiver end with an error during a block, without doing anything."""
    if error is None:
        yield
    else:
        with mock.patch.object(effects, "call_within", side_effect=error):
            yield


def _lease_and_apply(receiver: Receiver, deliveries: Sequence[Delivery]) -> None:
    """Run deliveries, each under a lease taken from whoever holds it: done ones run again."""
    for delivery in map(copy.copy, deliveries):
        delivery.lease_token = uuid4()
        repeated(partial(_take, delivery))
        with suppress(settle.LeaseLost):
            repeated(partial(effects.apply, receiver, [delivery]))


def _take(delivery: Delivery) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(
        state=DeliveryState.RUNNING,
        due_at=None,
        finished_at=None,
        attempts=F("attempts") + 1,
        lease_token=delivery.lease_token,
        lease_owner=current_owner(),
        lease_expires_at=Now() + LEASE,
    )
