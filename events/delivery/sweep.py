"""The safety net under the doorbell: every second, see to whatever no bell was rung for."""

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from django.db import DatabaseError, connection
from django.db.models import Exists

from events import queue as doorbell
from events.delivery import leases, settle
from events.delivery.availability import availability
from events.delivery.chores import Chores
from events.delivery.claim import earlier_in_lane
from events.delivery.claimable import due_queues, open_receivers, stranded
from events.delivery.clock import ClockWatch, database_now
from events.delivery.completion import Completion
from events.delivery.forked import Stamp
from events.models import Delivery, DeliveryState, ReceiverState
from events.receivers import all_receivers

logger = logging.getLogger(__name__)

SWEEP_INTERVAL_S = 1.0
WAKE_EVERY = 5  # sweeps
COMPLETE_EVERY = 5  # sweeps
TAKE_STOCK_EVERY = 30  # sweeps
LOOK_THROUGH_EVERY = 300  # sweeps: it reads all that is open, which may be much


def sweep_for_ever(begun: Stamp, ended: Stamp, queues: Sequence[str] = ()) -> None:
    """Sweep every second, and renew the stamps before and after each turn.

    The queues are those of the worker; what is swept is everybody's.

    What goes wrong is logged once per outage, and tried again.
    """
    sweeper = _Sweeper(queues)
    while True:
        begun.renew()
        sweeper.take_turn()
        ended.renew()
        time.sleep(SWEEP_INTERVAL_S)


class _Sweeper:
    """What one turn leaves to the next."""

    def __init__(self, queues: Sequence[str] = ()) -> None:
        self._chores = Chores(queues)
        self._completion = Completion()
        self._clock = ClockWatch()
        self._sweeps = 0
        self._failing = False

    def take_turn(self) -> None:
        """Sweep. Never raises."""
        try:
            self._sweep()
            availability.heard()
        except Exception:
            availability.failed()
            if not self._failing:
                logger.exception("The sweep failed; trying every second until it succeeds.")
            self._failing = True
            with suppress(DatabaseError):  # it is given up; nothing may end the sweep
                connection.close()

    def _sweep(self) -> None:
        # First what deliveries wait for: whatever fails below must not keep anybody from it.
        self._clock.advance()
        sweep()
        self._chores.do_due()
        if self._sweeps % TAKE_STOCK_EVERY == 0:
            take_stock()
        if self._sweeps % WAKE_EVERY == 0:
            wake_unblocked()
        if self._sweeps % COMPLETE_EVERY == 0:
            self._completion.advance()
        if self._sweeps % LOOK_THROUGH_EVERY == 0:
            look_through_open_deliveries()
        self._sweeps += 1
        self._failing = False


def sweep() -> None:
    """Release lost leases, and ring the queues that have work."""
    leases.release_dead_local()
    leases.release_expired()
    ring_due_queues()


def ring_due_queues() -> None:
    """Ring every queue that has claimable work (a bell that already waits is enough)."""
    doorbell.ring(*due_queues())


def wake_unblocked() -> int:
    """Wake waiting deliveries with no earlier unfinished one in their lane. Return how many.

    Verdicts wake what waits behind them, and claims what they parked too late; this is for those
    that were left behind by a process that died in between, and for the rest of a long lane.
    """
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING)
    if not waiting.exists():
        return 0
    unblocked = waiting.filter(~Exists(earlier_in_lane()))
    free = list(unblocked.values_list("pk", flat=True)[: settle.WAKE_LIMIT])
    return settle.wake(Delivery.objects.filter(pk__in=free)) if free else 0


def take_stock() -> None:
    """See to what changes with a release. Done at the start of a worker, and now and then."""
    record_receivers()
    doorbell.synchronise_schedules()


def look_through_open_deliveries() -> None:
    """See to what another release has left behind. Done as `take_stock`, but seldom."""
    open_ones = open_receivers()
    move_to_declared_queues(open_ones)
    report_stranded(open_ones)


def record_receivers() -> None:
    """Note when each receiver was first seen, with each type of event that it listens to.

    What was published before is not owed to it.
    """
    seen = set(ReceiverState.objects.values_list("name", flat=True))
    new = [r.name for r in all_receivers() if r.name not in seen]
    # A list: of an empty one Django makes no transaction, and SQLite has only one to give.
    ReceiverState.objects.bulk_create([ReceiverState(name=n) for n in new], ignore_conflicts=True)
    states = ReceiverState.objects.in_bulk()
    for receiver in all_receivers():
        _record_types(states[receiver.name], {signal.type for signal in receiver.signals})


def _record_types(state: ReceiverState, types: set[str]) -> None:
    new = types - state.types_seen.keys()
    if new:
        since = database_now() if state.types_seen else state.first_seen_at
        state.types_seen |= dict.fromkeys(sorted(new), since.isoformat())
        state.save(update_fields=["types_seen"])


def move_to_declared_queues(open_ones: Iterable[tuple[str, str]]) -> None:
    """Move open deliveries of a receiver that another release served in another queue.

    Claims go by receiver: what is not moved yet only names the wrong queue in lists.
    """
    declared = {receiver.name: receiver.queue for receiver in all_receivers()}
    for name, queue in open_ones:
        if declared.get(name, queue) != queue:
            elsewhere = Delivery.objects.filter(
                receiver=name, queue=queue, finished_at__isnull=True
            )
            elsewhere.exclude(state=DeliveryState.RUNNING).update(queue=declared[name])


def report_stranded(open_ones: Iterable[tuple[str, str]]) -> None:
    """Log the open deliveries of receivers that this release does not know."""
    for name in stranded(open_ones):
        logger.error(
            "The receiver %r has open deliveries, but this release does not know it. "
            "See `manage.py check --database default`.",
            name,
        )
