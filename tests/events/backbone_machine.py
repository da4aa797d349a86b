"""Drive the real backbone and its model with the same random steps, and compare them after each.

Every step commits. Time stands still but for the rule that lets it pass: no retry becomes due by
itself, however slow the machine. A worker's death is an exception that nothing catches: its
transaction rolls back, nothing of the drain runs after it, and its lease stays.
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from operator import attrgetter
from typing import Any
from unittest import mock
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from events.delivery import claim as claiming
from events.delivery import drain as draining
from events.delivery import effects, leases, settle, sweep
from events.delivery.pace import Pace
from events.envelope import Event
from events.models import Attempt, Delivery, DeliveryState, ReceiverState
from events.models import Event as EventRow
from events.operations.pausing import pause, resume
from events.operations.replay import replay, replay_chosen
from events.operations.selection import Selection
from events.operations.skip import skip_chosen
from events.receivers import Receiver, get_receiver
from events.retry import PermanentFailure, RetryLater, RetrySchedule
from tests.events.backbone_model import EXACTLY_ONCE, FAULTS, QUEUES, RECEIVERS, Model, Owed
from tests.probe.models import Effect, Fault, ProcessedEvent
from tests.probe.observe import let_leases_expire, make_due
from tests.probe.receivers import FAULTS as PROBE_FAULTS
from tests.probe.receivers import Broken
from tests.probe.signals import Happened, happened

HOUR_S = 3600.0
_call = effects._call

keys = st.sampled_from(["ada", "bob"])
numbers = st.integers(0, 7)  # of events, published or not yet
queues = st.sampled_from(sorted(QUEUES))
receivers = st.sampled_from(RECEIVERS)
limits = st.integers(1, 6)
FAILURES = (Broken, PermanentFailure, RetryLater)


class Killed(BaseException):
    """Stands for SIGKILL."""


def _die(*args: object, **kwargs: object) -> None:
    raise Killed


class DeathWish(Exception):
    """Raised by a receiver that is to kill its worker."""


def _wish_to_die() -> None:
    raise DeathWish


def _call_or_die(receiver: Receiver, events: list[Event[Any]]) -> None:
    try:
        _call(receiver, events)
    except DeathWish as wish:
        raise Killed from wish


def _ask_for_much_later() -> None:
    raise RetryLater(HOUR_S)


@contextmanager
def still_time() -> Iterator[None]:
    """Run a block in which no retry becomes due by itself, and receivers can die."""
    faults = {"later": _ask_for_much_later, "killed": _wish_to_die}
    with (
        mock.patch.object(RetrySchedule, "delay_s", return_value=HOUR_S),
        mock.patch.dict(PROBE_FAULTS, faults),
        mock.patch.object(effects, "_call", _call_or_die),
    ):
        yield


def forget_everything() -> None:
    """Empty the tables that the machine fills, and let the first receiver have the first turn.

    An example must do the same whenever it is run, so which steps there may be depends on nothing
    that does not: not on which deliveries happened to be claimed.
    """
    claiming._turns = count()
    for model in (Attempt, Delivery, EventRow, ReceiverState, Effect, Fault, ProcessedEvent):
        model._default_manager.all().delete()


def compare(how: settings) -> None:
    """Take random steps, in as many examples as the settings say. Raises at the first difference.

    pytest-randomly has seeded `random`: --randomly-seed=, which it prints, takes the same steps.
    """
    machine = seed(random.getrandbits(32))(BackboneMachine)
    with still_time():
        run_state_machine_as_test(machine, settings=how)


def published(machine: "BackboneMachine") -> bool:
    """Tell whether any event is published; until then most steps would do nothing."""
    return bool(machine.ids)


class BackboneMachine(RuleBasedStateMachine):
    """The rules are what publishers, workers, operators, faults and time do."""

    def __init__(self) -> None:
        super().__init__()
        forget_everything()
        self.model = Model()
        self.ids: list[UUID] = []  # of the events, by number
        self._outer = sys.exception()  # hypothesis may run an example while it handles an error

    @rule(chosen=st.lists(keys, min_size=1, max_size=4), kept=st.integers(0, 4))
    def publish(self, chosen: list[str], kept: int) -> None:
        """Publish some events in one transaction; now and then it rolls back."""
        first = len(self.ids)
        with transaction.atomic():
            events = happened.publish_many(
                Happened(key=key, number=number) for number, key in enumerate(chosen, first)
            )
            transaction.set_rollback(kept == 0)
        if kept:
            self.ids += [event.id for event in events]
            for number, key in enumerate(chosen, first):
                self.model.publish(number, key)

    @rule(number=numbers, kind=st.sampled_from(FAULTS))
    def switch_fault_on(self, number: int, kind: str) -> None:
        Fault.objects.filter(number=number).delete()
        Fault.objects.create(number=number, kind=kind)
        self.model.faults[number] = kind

    @precondition(lambda self: self.model.faults)
    @rule()
    def mend(self) -> None:
        Fault.objects.all().delete()
        self.model.faults.clear()

    @precondition(published)
    @rule()
    def drain(self) -> None:
        while not _drain_or_die():
            self._release()
        self.model.drain()

    @precondition(published)
    @rule()
    def pass_time(self) -> None:
        make_due()
        self.model.pass_time()

    @precondition(published)
    @rule(queue=queues, limit=limits)
    def a_worker_dies_before_it_begins(self, queue: str, limit: int) -> None:
        claimed = self._claim(queue, limit)
        self._release()
        self.model.lose_worker(self._all_owed(claimed), begun=[])

    @precondition(published)
    @rule(queue=queues, limit=limits)
    def a_worker_dies_before_its_verdict(self, queue: str, limit: int) -> None:
        claimed = self._claim(queue, limit)
        begun = _first_call_of(claimed)
        if begun:
            with mock.patch.object(settle, "finish", _die), suppress(Killed, *FAILURES):
                effects.apply(get_receiver(begun[0].receiver), begun)
        self._release()
        self.model.lose_worker(self._all_owed(claimed), begun=self._all_owed(begun))

    @precondition(lambda self: self.ids and "killed" not in self.model.faults.values())
    @rule(queue=queues, limit=limits)
    def a_claim_is_run_twice(self, queue: str, limit: int) -> None:
        claimed = self._claim(queue, limit)
        for _ in range(2):
            _deliver(claimed)
        self.model.run_claim(self._all_owed(claimed))

    @precondition(published)
    @rule(queue=queues, limit=limits)
    def a_worker_oversleeps_its_lease(self, queue: str, limit: int) -> None:
        stale = self._claim(queue, limit)
        self._release()
        self.model.lose_worker(self._all_owed(stale), begun=[])
        self.drain()
        _deliver(stale)

    @precondition(published)
    @rule(pick=numbers)
    def replay_all(self, pick: int) -> None:
        """Replay all that are in one of the states there are."""
        states = sorted({owed.state for owed in self.model.owed})
        self._replay_all(states[pick % len(states)])

    @precondition(published)
    @rule(receiver=receivers, pick=numbers)
    def replay_one(self, receiver: str, pick: int) -> None:
        owed = self._pick(receiver, pick)
        replay_chosen(self._row(owed))
        self.model.replay([owed])

    @precondition(published)
    @rule(receiver=receivers, pick=numbers)
    def skip(self, receiver: str, pick: int) -> None:
        owed = self._pick(receiver, pick)
        if owed.state in ("open", "dead"):
            skip_chosen(self._row(owed), by="an operator", reason="given up")
            self.model.skip(owed)

    @rule(receiver=receivers)
    def pause(self, receiver: str) -> None:
        pause(f"probe.{receiver}", by="an operator", reason="a test")
        self.model.paused.add(receiver)

    @precondition(lambda self: self.model.paused)
    @rule()
    def resume(self) -> None:
        for receiver in sorted(self.model.paused):
            resume(f"probe.{receiver}")
        self.model.paused.clear()

    @precondition(published)
    @rule()
    def sweep(self) -> None:
        sweep.sweep()
        sweep.wake_unblocked()

    @invariant()
    def every_event_is_owed_once_to_every_receiver_and_stands_as_the_model_says(self) -> None:
        rows = Delivery.objects.values_list("receiver", "event_id", "state", "attempts")
        found = Counter((*self._name(r, e), _as_owed(state), n) for r, e, state, n in rows)
        said = Counter((o.receiver, o.number, o.state, o.attempts) for o in self.model.owed)
        assert found == said

    @invariant()
    def what_waits_stands_behind_something(self) -> None:
        for delivery in Delivery.objects.filter(state=DeliveryState.WAITING):
            owed = self.model.find(*self._name(delivery.receiver, delivery.event_id))
            assert any(self.model.before(owed)), owed

    @invariant()
    def effects_are_as_the_model_says(self) -> None:
        found = Counter(Effect.objects.values_list("receiver", "number"))
        for owed in self.model.owed:
            extra = found.pop((owed.receiver, owed.number), 0) - owed.effects
            assert 0 <= extra <= owed.perhaps, owed
        assert not found

    @invariant()
    def each_effect_of_the_first_receiver_has_one_follow_on_event(self) -> None:
        followed = EventRow.objects.filter(type="probe.followed").values_list("causation_id")
        applied = Effect.objects.filter(receiver="record").values_list("event_id")
        assert Counter(followed) == Counter(applied)

    @invariant()
    def every_counted_failure_is_kept(self) -> None:
        kept = Attempt.objects.values_list("delivery__receiver", "delivery__event_id")
        said = {(o.receiver, o.number): o.failures for o in self.model.owed if o.failures}
        assert Counter(self._name(*row) for row in kept) == said

    @invariant()
    def order_holds_in_every_lane(self) -> None:
        """A number never follows a higher one, but where it was replayed after its end."""
        replayed = {(o.receiver, o.number) for o in self.model.owed if not o.in_lane}
        latest: dict[tuple[str, str], int] = defaultdict(lambda: -1)
        for effect in Effect.objects.order_by("pk"):
            lane = (effect.receiver, effect.key)
            if (effect.receiver, effect.number) not in replayed:
                assert effect.number >= latest[lane], effect
                latest[lane] = effect.number

    def teardown(self) -> None:
        """Unless a step failed: mend everything; then all is done that nobody skipped."""
        if sys.exception() is not self._outer:
            return
        self.mend()
        self.resume()
        self.pass_time()
        self.drain()
        self._replay_all("dead")
        self.drain()
        for each in self.invariants:
            each.function(self)
        assert {owed.state for owed in self.model.owed} <= {"done", "skipped"}
        done = [owed for owed in self.model.owed if owed.state == "done"]
        assert all(owed.effects == 1 for owed in done if owed.receiver in EXACTLY_ONCE)
        assert all(owed.effects >= 1 for owed in done)

    def _claim(self, queue: str, limit: int) -> list[Delivery]:
        """Claim, and check that the model lets each of these run, one after the other."""
        has_work = self.model.has_work(queue)
        claimed = claiming.claim(queue, limit)
        assert bool(claimed) == has_work
        before: set[int] = set()
        for owed in sorted(self._all_owed(claimed), key=attrgetter("number")):
            assert self.model.may_run(owed, beside=before), owed
            before.add(id(owed))
        return claimed

    def _release(self) -> None:
        """Let the leases end of a worker that died."""
        let_leases_expire()
        leases.release_expired()

    def _replay_all(self, state: str) -> None:
        replay(Selection(state=DeliveryState("pending" if state == "open" else state)))
        self.model.replay([owed for owed in self.model.owed if owed.state == state])

    def _pick(self, receiver: str, pick: int) -> Owed:
        return self.model.find(receiver, pick % len(self.ids))

    def _row(self, owed: Owed) -> QuerySet[Delivery]:
        event = Q(event__event_id=self.ids[owed.number])
        return Delivery.objects.filter(event, receiver=f"probe.{owed.receiver}")

    def _all_owed(self, deliveries: Sequence[Delivery]) -> list[Owed]:
        return [self.model.find(*self._name(d.receiver, d.event_id)) for d in deliveries]

    def _name(self, receiver: str, event_id: Any) -> tuple[str, int]:
        return receiver.removeprefix("probe."), self.ids.index(event_id)


def _drain_or_die() -> bool:
    """Drain until nothing is due; return False where a receiver killed its worker."""
    try:
        for queue in QUEUES:
            draining.drain(queue)
    except Killed:
        return False
    return True


def _deliver(claimed: Sequence[Delivery]) -> None:
    """Do what a drain does with its claim."""
    if claimed:
        draining._deliver(claimed, Pace())


def _first_call_of(claimed: Sequence[Delivery]) -> list[Delivery]:
    """Return what a worker with this claim begins with."""
    in_order = sorted(claimed, key=lambda delivery: delivery.position or 0)
    together = in_order and get_receiver(in_order[0].receiver).batch
    return in_order if together else in_order[:1]


def _as_owed(state: str) -> str:
    return "open" if state in (DeliveryState.PENDING, DeliveryState.WAITING) else state
