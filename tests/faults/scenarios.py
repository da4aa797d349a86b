"""What is done to the backbone to see whether it is sound, and what is found to be wrong then.

Each scenario works in an empty database and returns what is wrong, in words: nothing, for a sound
backbone. The words begin with who found it: `check_invariants` by the number of the invariant, the
kit's checks as "kit", its treatment of any receiver as "receiver", a look of the scenario's own at
effects and deliveries by a word of what it looks at.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias
from unittest import mock

from django.db import OperationalError, transaction

from accounts.models import User
from events import queue as doorbell
from events.delivery import drain as draining
from events.delivery import effects as applying
from events.delivery import leases, settle, sweep
from events.delivery.claim import claim
from events.delivery.drain import drain
from events.delivery.pace import Pace
from events.models import Attempt, Delivery, DeliveryState, Event
from events.operations.pausing import pause
from events.operations.replay import replay
from events.operations.selection import Selection
from events.operations.skip import skip
from events.receivers import get_receiver
from tests.faults import crashpoints
from tests.faults.any_receiver import (
    Case,
    problems_after_a_crash,
    problems_of_two_deliveries,
    recover,
    undisturbed,
)
from tests.faults.checks import check_everything
from tests.faults.crashpoints import CRASHPOINTS, CrashPoint, Side, Stage
from tests.faults.forks import crash, in_child
from tests.faults.stimuli import STIMULI, drain_everything, register_invited, set_scene
from tests.faults.world import register
from tests.invariants import broken
from tests.parallel import run_at_once
from tests.probe.models import Effect, Fault
from tests.probe.observe import let_leases_expire, make_due
from tests.probe.receivers import FAULTS
from tests.probe.signals import Happened, happened

Problems: TypeAlias = list[str]
Scenario: TypeAlias = Callable[[], Problems]

RECORD = Case("probe.record", "probe.happened")
CALL_ONCE = Case("probe.call_once", "probe.happened")
IN_ORDER = ("record", "record_batch", "call_outside", "call_once")
POISON = 3
MOST_DEATHS = 12


def judge() -> Problems:
    """Return what the kit and `check_invariants` find in a world of registrations at rest."""
    return [*(f"kit: {finding}" for finding in check_everything()), *breaches("--at-rest")]


def breaches(*arguments: str) -> Problems:
    """Return what `check_invariants` finds."""
    return [f"{number}: {what}" for number, found in broken(*arguments).items() for what in found]


def registered() -> Problems:
    """Register an invited person and deliver everything."""
    register_invited(set_scene())
    drain_everything()
    return judge()


def registered_and_replayed() -> Problems:
    """Register an invited person, deliver everything, and deliver it again."""
    register_invited(set_scene())
    drain_everything()
    replay(Selection(state=DeliveryState.DONE))
    drain_everything()
    return judge()


def sold_out() -> Problems:
    """Let two people register for the last coupon."""
    STIMULI["coupons.coupon_issue_skipped"](set_scene())
    drain_everything()
    return breaches("--at-rest")


def sign_up_dies_at(point: str) -> Problems:
    """Kill the process of a sign-up at a point."""
    inviter = set_scene().inviter
    crash(partial(register, "b@example.com", inviter), CRASHPOINTS[point])
    recover()
    published = Event.objects.filter(type="accounts.user_registered").count()
    if published != User.objects.count():
        return [*judge(), f"accounts: {User.objects.count()} with {published} events"]
    return judge()


def delivered_twice() -> Problems:
    """Deliver an event to a receiver again after it is done."""
    return [f"receiver: {problem}" for problem in problems_of_two_deliveries(RECORD)]


def delivery_dies_at(point: str) -> Problems:
    """Kill the process that delivers an event to a receiver at a point."""
    return [f"receiver: {p}" for p in problems_after_a_crash(RECORD, CRASHPOINTS[point])]


def only_call_dies_at(point: str) -> Problems:
    """Kill the process that makes a call which must not be repeated."""
    return [f"receiver: {p}" for p in problems_after_a_crash(CALL_ONCE, CRASHPOINTS[point])]


def dies_right_after_the_commit() -> Problems:
    """Kill a worker between the commit of an effect and whatever is done after commits."""
    publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    commit = CrashPoint(
        "effect.committed",
        Stage.DRAIN,
        Side.BEFORE,
        "django.db.backends.base.base.BaseDatabaseWrapper.run_and_clear_commit_hooks",
    )

    def deliver() -> None:
        claimed = claim("probe", 1)
        crashpoints.arm(commit)
        applying.apply(get_receiver("probe.record"), claimed)

    status = in_child(deliver)
    assert status < 0
    recover()
    followed = Event.objects.filter(type="probe.followed").count()
    return [f"follow-on: {followed} events of 1 effect"] if followed != 1 else []


def fails_and_is_mended() -> Problems:
    """Let receivers fail on one event, and then no longer."""
    with misbehaving(POISON, "raise"):
        publish(POISON)
        drain_everything()
    make_due()
    drain_everything()
    return [*expect_effects({receiver: [POISON] for receiver in IN_ORDER[:2]}), *breaches()]


def order_behind_a_failure() -> Problems:
    """Let the first of a lane fail once."""
    with misbehaving(1, "raise"):
        publish(1, 2, 3)
        drain_everything()
        problems = expect_effects({"record": [], "record_batch": []})
    make_due()
    drain_everything()
    return [*problems, *_expect_the_lane(["record", "record_batch", "call_outside"])]


def order_behind_a_dead_letter() -> Problems:
    """Let the first of a lane die, be replayed in vain, and be replayed when it is mended."""
    with misbehaving(1, "permanent"):
        publish(1, 2, 3)
        drain_everything()
        replay(Selection(state=DeliveryState.DEAD))
        drain_everything()
        sweep.wake_unblocked()
        drain_everything()
        problems = expect_effects({"record": [], "record_batch": []})
    replay(Selection(state=DeliveryState.DEAD))
    drain_everything()
    return [*problems, *_expect_the_lane(["record", "record_batch", "call_outside"])]


def skipped_head() -> Problems:
    """Skip a dead letter: what waits behind it goes on at once."""
    with misbehaving(1, "permanent"):
        publish(1, 2)
        drain_everything()
    skip(Selection(state=DeliveryState.DEAD), by="an operator", reason="given up")
    drain_everything()
    return [*expect_effects({"record": [2], "record_batch": [2]}), *breaches("--at-rest")]


def replayed_finished_one() -> Problems:
    """Replay what is done, and let it fail this time: it stands in nobody's way."""
    publish(1)
    drain_everything()
    with misbehaving(1, "raise"):
        replay(Selection(state=DeliveryState.DONE, receiver="probe.call_outside"))
        publish(2)
        drain_everything()
    return [*expect_effects({"call_outside": [1, 1, 2], "record": [1, 2]}), *breaches()]


def poison_in_a_batch() -> Problems:
    """Let receivers fail on one of five events for ever."""
    with misbehaving(POISON, "raise"):
        publish(*range(1, 6), lanes=5)
        drain("probe")
        problems = _innocents_are_done()
        for _ in range(5):
            make_due()
            drain("probe")
    return [*problems, *_poison_is_dead(), *breaches()]


def killer_in_a_batch() -> Problems:
    """Let one of five events kill every worker that runs it."""
    with misbehaving(POISON, "kill"):
        publish(*range(1, 6), lanes=5)
        deaths = 0
        while deaths < MOST_DEATHS and in_child(partial(drain, "probe")):
            deaths += 1
            sweep.sweep()
            make_due()
    endless = [f"deaths: {deaths}, and no end"] if deaths == MOST_DEATHS else []
    return [*endless, *_innocents_are_done(), *_poison_is_dead(), *breaches()]


def asked_for_later() -> Problems:
    """Let receivers ask for later, more often than they may fail."""
    with misbehaving(1, "later"):
        publish(1)
        for _ in range(5):
            drain("probe")
            make_due()
    drain("probe")
    return [*expect_effects({"record": [1], "record_batch": [1]}), *_expect_no_failures()]


def overslept() -> Problems:
    """Let a worker wake up when its lease has ended and another has done its work."""
    publish(1)
    stale = [claim("outside", 1)[0], claim("outside", 1)[0]]
    let_leases_expire()
    leases.release_expired()
    make_due()
    drain_everything()
    before = list(Delivery.objects.order_by("pk").values())
    calls = Effect.objects.count()
    for delivery in stale:
        draining._deliver([delivery], Pace())
    made = Effect.objects.count() - calls
    changed = list(Delivery.objects.order_by("pk").values()) != before
    return [
        *([f"calls: {made} by a worker without a lease"] if made else []),
        *(["deliveries: changed by a worker without a lease"] if changed else []),
    ]


def lease_lost_during_the_call() -> Problems:
    """Let a worker oversleep in the middle of its call: its verdict comes too late."""
    held: list[Delivery] = []

    def oversleep() -> None:
        if not held:
            let_leases_expire()
            leases.release_expired()
            make_due()
            held.extend(claim("outside", 1))

    publish(1)
    Delivery.objects.exclude(receiver="probe.call_outside").delete()
    with mock.patch.dict(FAULTS, {"oversleep": oversleep}), misbehaving(1, "oversleep"):
        draining._deliver(claim("outside", 1), Pace())
    [other] = held
    if not settle.ours([other]).filter(state=DeliveryState.RUNNING).exists():
        return ["verdict: given by a worker without a lease"]
    return []


def sweep_among_the_living() -> Problems:
    """Sweep while a worker is at work."""
    publish(1)
    claimed = claim("probe", 10)
    sweep.sweep()
    kept = settle.ours(claimed).count()
    return [f"leases: {len(claimed) - kept} taken from the living"] if kept < len(claimed) else []


def conflict() -> Problems:
    """Let the database ask once for a transaction to be repeated."""
    publish(1)
    finish = settle.finish
    answers: Iterator[Any] = iter([OperationalError("database is locked")])

    def conflicting(deliveries: Sequence[Delivery]) -> None:
        for error in answers:
            raise error
        finish(deliveries)

    with mock.patch.object(settle, "finish", conflicting):
        drain("probe")
    return [*_expect_no_failures(), *expect_effects({"record": [1], "record_batch": [1]})]


def paused_receiver() -> Problems:
    """Pause a receiver that has work."""
    pause("probe.record", by="an operator", reason="a test")
    publish(1)
    drain_everything()
    return expect_effects({"record": [], "record_batch": [1]})


def bells() -> Problems:
    """Listen to the bells of a publication: each queue's rings, when its rows can be seen."""
    seen: dict[str, int] = {}

    def listen(queues: Sequence[str]) -> None:
        for queue in queues:
            due = Delivery.objects.filter(queue=queue)
            [seen[queue]] = run_at_once([due.count])  # on a connection of its own

    with mock.patch.object(doorbell, "_ring_now", listen):
        publish(1)
    silent = {"probe", "outside"} - seen.keys()
    return [
        *(f"bell: {queue} was not rung" for queue in sorted(silent)),
        *(f"bell: {queue} rang for nothing" for queue, rows in sorted(seen.items()) if not rows),
    ]


def learn_what_is_right() -> None:
    """Let the kit see undisturbed runs, which it remembers, before anything is broken."""
    for case in (RECORD, CALL_ONCE):
        undisturbed(case, 1)  # as the kit asks: it remembers by the very arguments


def publish(*numbers: int, lanes: int = 1) -> None:
    """Publish events, each in a transaction of its own, in one lane or spread over several."""
    for number in numbers:
        with transaction.atomic():
            happened.publish(Happened(key=f"lane {number % lanes}", number=number))


@contextmanager
def misbehaving(number: int, kind: str) -> Iterator[None]:
    """Let receivers misbehave on a number during a block."""
    fault = Fault.objects.create(number=number, kind=kind)
    try:
        yield
    finally:
        fault.delete()


def expect_effects(expected: dict[str, list[int]]) -> Problems:
    """Return where the effects of receivers are others, or in another order, than expected."""
    found = {receiver: _numbers_of(receiver) for receiver in expected}
    return [
        f"effects: {receiver} has {found[receiver]}, not {numbers}"
        for receiver, numbers in expected.items()
        if found[receiver] != numbers
    ]


def _numbers_of(receiver: str) -> list[int]:
    rows = Effect.objects.filter(receiver=receiver).order_by("pk")
    return list(rows.values_list("number", flat=True))


def _expect_the_lane(receivers: Sequence[str]) -> Problems:
    """Return who did not apply 1, 2, 3 in that order; a call outside may be made several times."""
    wrong = {
        r: _numbers_of(r) for r in receivers if list(dict.fromkeys(_numbers_of(r))) != [1, 2, 3]
    }
    found = [f"order: {receiver} has {numbers}" for receiver, numbers in wrong.items()]
    return [*found, *breaches("--at-rest")]


def _innocents_are_done() -> Problems:
    others = Delivery.objects.filter(queue="probe").exclude(event__data__number=POISON)
    harmed = others.exclude(state=DeliveryState.DONE, attempts=1, failures__isnull=True)
    return [f"innocents: {d.receiver} is {d.state} after {d.attempts}" for d in harmed]


def _poison_is_dead() -> Problems:
    poison = Delivery.objects.filter(queue="probe", event__data__number=POISON)
    return [
        f"poison: {d.receiver} is {d.state} after {d.attempts}"
        for d in poison
        if (d.state, d.attempts, d.failures.count()) != (DeliveryState.DEAD, 3, 3)
    ]


def _expect_no_failures() -> Problems:
    counted = Attempt.objects.count()
    return [f"failures: {counted} were counted"] if counted else []
