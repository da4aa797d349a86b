"""Work off a queue: claim, run, settle, until nothing is due or the time is up.

django-q2 calls `drain` when a bell rings; it needs no other argument than the queue's name.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from events import queue as doorbell
from events.delivery import settle, verdicts
from events.delivery.claim import LEASE_S, claim
from events.delivery.claimable import has_due_deliveries
from events.delivery.conflict import is_conflict, is_database_well, is_full, repeated
from events.delivery.effects import apply, time_limit_s
from events.delivery.failure import describe
from events.delivery.pace import Pace
from events.delivery.progress import told
from events.delivery.stopping import is_stopping
from events.delivery.targets import TargetCalls
from events.delivery.turns import turn
from events.delivery.verdicts import hand_back
from events.models import Delivery
from events.receivers import Guarantee, Receiver, get_receiver

logger = logging.getLogger(__name__)

DRAIN_BUDGET_S = 20.0
BEGIN_WITHIN_S = LEASE_S / 3  # what has not begun by then is handed back
LINGER_S = 17.0  # beyond the budget, while calls to targets are under way: as long as one takes
CONFLICT_DELAY_S = 1.0

Lane = tuple[str, str, str]


def drain(queue: str, budget_s: float = DRAIN_BUDGET_S) -> int:
    """Deliver what is due in a queue, for about `budget_s` at most. Return how many are done."""
    with told().draining():
        return _drain(queue, budget_s)


def _drain(queue: str, budget_s: float) -> int:
    deadline = time.monotonic() + budget_s
    calls = TargetCalls(queue)
    try:
        done = _work(queue, deadline, calls)
    finally:
        calls.join()
    return done + calls.done


def _work(queue: str, deadline: float, calls: TargetCalls) -> int:
    """Deliver what is due, and begin calls to targets. Return how many of the former are done."""
    pace = Pace()
    done = 0
    calling = calls.begin()
    # Calls that take long keep a drain beyond its budget: others are not to wait for them.
    while time.monotonic() < deadline + calling * LINGER_S and not is_stopping():
        told().busy_for(0)  # here too: the wait for a turn comes before the claim's own stamp
        if calling and not has_due_deliveries(queue, to_targets=False):
            calls.wait()  # and look again, without writing
            calling = calls.begin()
            continue
        limit = pace.limit
        with turn():
            deliveries = repeated(lambda limit=limit: claim(queue, limit))  # type: ignore[misc]
        if not deliveries and not calling:
            return done
        if not deliveries:
            continue
        if len(deliveries) == limit:
            doorbell.ring(queue)  # a long queue is worth another worker
        done += _deliver(deliveries, pace)
        pace.adapt(len(deliveries))
        calling = calls.begin()
    if not is_stopping() and has_due_deliveries(queue):
        doorbell.ring(queue)
    return done


def _deliver(deliveries: Sequence[Delivery], pace: Pace) -> int:
    """Run one claim, which is of one receiver. Return how many deliveries are done."""
    run = _ClaimRun(pace)
    receiver = get_receiver(deliveries[0].receiver)
    in_order = sorted(deliveries, key=lambda delivery: delivery.position or 0)
    for together in [in_order] if receiver.batch else [[delivery] for delivery in in_order]:
        run.deliver_together(receiver, together)
    return run.done


class _ClaimRun:
    """The running of one claim: when it began, which lanes have failed, what is done."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.must_begin_by = time.monotonic() + BEGIN_WITHIN_S
        self.failed_lanes: set[Lane] = set()
        self.done = 0

    def deliver_together(self, receiver: Receiver, deliveries: Sequence[Delivery]) -> None:
        """Run deliveries in one transaction; when it fails, halve down to the culprit.

        What stands behind a failure in its lane, or would begin too late, is handed back.
        """
        free = [d for d in deliveries if _lane(d) not in self.failed_lanes]
        hand_back([d for d in deliveries if _lane(d) in self.failed_lanes])
        if self._is_too_late():
            return hand_back(free)
        if not free:
            return None
        told().busy_for(time_limit_s(receiver))
        started_at = timezone.now()
        try:
            self._apply(receiver, free)
        except Exception as error:
            self._after_error(receiver, free, error, started_at)
        return None

    def _is_too_late(self) -> bool:
        return time.monotonic() > self.must_begin_by or is_stopping()

    def _apply(self, receiver: Receiver, deliveries: Sequence[Delivery]) -> None:
        if receiver.guarantee is Guarantee.EXACTLY_ONCE:
            self.done += repeated(lambda: self._apply_in_turn(receiver, deliveries))
        else:  # it calls out of the system: that is never repeated here, and nobody waits for it
            with self.pace.working():
                self.done += apply(receiver, deliveries)

    def _apply_in_turn(self, receiver: Receiver, deliveries: Sequence[Delivery]) -> int:
        with turn(), self.pace.working():
            return apply(receiver, deliveries)

    def _after_error(
        self,
        receiver: Receiver,
        deliveries: Sequence[Delivery],
        error: Exception,
        started_at: datetime,
    ) -> None:
        if receiver.guarantee is Guarantee.EXACTLY_ONCE and is_conflict(error):
            self._after_conflicts(receiver, deliveries, error, started_at)
        elif len(deliveries) == 1:
            self._fail(receiver, deliveries[0], error, started_at)
        elif self._is_too_late():  # one of them took all the time: each runs alone next
            hand_back(deliveries, run_alone=True)
        else:
            middle = len(deliveries) // 2
            self.deliver_together(receiver, deliveries[:middle])
            self.deliver_together(receiver, deliveries[middle:])

    def _after_conflicts(
        self,
        receiver: Receiver,
        deliveries: Sequence[Delivery],
        error: Exception,
        started_at: datetime,
    ) -> None:
        """Hand back what has lost race after race, at first with no blame.

        The second time each runs alone; and one that loses again then, with the database well, is
        its own opponent: a receiver that closes its connection, or locks itself out.
        """
        again = any(delivery.fingerprint == settle.EXCUSED for delivery in deliveries)
        if again and len(deliveries) == 1 and not is_full(error) and is_database_well():
            return self._fail(receiver, deliveries[0], error, started_at)
        logger.warning("%s: handed back after conflicts: %s", receiver.name, error)
        self.failed_lanes.update(map(_lane, deliveries))
        return hand_back(
            deliveries,
            delay_s=CONFLICT_DELAY_S,
            run_alone=True if again else None,
            excuse=describe(error),
        )

    def _fail(
        self, receiver: Receiver, delivery: Delivery, error: Exception, started_at: datetime
    ) -> None:
        self.failed_lanes.add(_lane(delivery))
        verdicts.give(receiver, delivery, error, started_at)


def _lane(delivery: Delivery) -> Lane:
    # One without a position has no lane: its failure holds nobody up.
    if delivery.position is None:
        return ("", "", f"delivery {delivery.pk}")
    return (delivery.receiver, delivery.target, delivery.key)
