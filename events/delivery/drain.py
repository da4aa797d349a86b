"""Work off a queue: claim, run, settle, until nothing is due or the time is up.

django-q2 calls `drain` when a bell rings; it needs no other argument than the queue's name.
"""

import logging
import random
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from django.db import connection
from django.utils import timezone

from events import queue as doorbell
from events.delivery import settle
from events.delivery.claim import LEASE_S, claim
from events.delivery.claimable import has_due_deliveries
from events.delivery.conflict import is_conflict
from events.delivery.effects import apply
from events.delivery.failure import describe
from events.delivery.pace import Pace
from events.delivery.turns import turn
from events.models import Delivery
from events.receivers import Guarantee, Receiver, get_receiver
from events.retry import PermanentFailure, RetryLater

logger = logging.getLogger(__name__)

DRAIN_BUDGET_S = 20.0
BEGIN_WITHIN_S = LEASE_S / 3  # what has not begun by then is handed back
CONFLICT_TRIES = 5
CONFLICT_DELAY_S = 1.0

Lane = tuple[str, str, str]


def drain(queue: str, budget_s: float = DRAIN_BUDGET_S) -> int:
    """Deliver what is due in a queue, for about `budget_s` at most. Return how many are done."""
    deadline = time.monotonic() + budget_s
    pace = Pace()
    done = 0
    while time.monotonic() < deadline:
        with turn():
            deliveries = claim(queue, pace.limit)
        if not deliveries:
            return done
        if len(deliveries) == pace.limit:
            doorbell.ring(queue)  # a long queue is worth another worker
        with pace.measured(len(deliveries)):
            done += _deliver(deliveries)
    if has_due_deliveries(queue):
        doorbell.ring(queue)
    return done


def _deliver(deliveries: Sequence[Delivery]) -> int:
    """Run one claim, receiver by receiver. Return how many deliveries are done."""
    run = _ClaimRun()
    for name, group in groupby(
        sorted(deliveries, key=lambda delivery: delivery.receiver), key=lambda d: d.receiver
    ):
        receiver = get_receiver(name)
        members = sorted(group, key=lambda delivery: delivery.position or 0)
        if receiver.batch:
            run.deliver_together(receiver, members)
        else:
            for delivery in members:
                run.deliver_together(receiver, [delivery])
    return run.done


class _ClaimRun:
    """The running of one claim: when it began, which lanes have failed, what is done."""

    def __init__(self) -> None:
        self.must_begin_by = time.monotonic() + BEGIN_WITHIN_S
        self.failed_lanes: set[Lane] = set()
        self.done = 0

    def deliver_together(self, receiver: Receiver, deliveries: Sequence[Delivery]) -> None:
        """Run deliveries in one transaction; when it fails, halve down to the culprit.

        What stands behind a failure in its lane, or would begin too late, is handed back.
        """
        if time.monotonic() > self.must_begin_by:
            return settle.hand_back(deliveries)
        behind = [d for d in deliveries if _lane(d) in self.failed_lanes]
        settle.hand_back(behind)
        free = [d for d in deliveries if _lane(d) not in self.failed_lanes]
        if not free:
            return None
        started_at = timezone.now()
        try:
            self._apply(receiver, free)
        except Exception as error:
            if len(free) == 1:
                return self._fail(receiver, free[0], error, started_at)
            middle = len(free) // 2
            self.deliver_together(receiver, free[:middle])
            self.deliver_together(receiver, free[middle:])
        return None

    def _apply(self, receiver: Receiver, deliveries: Sequence[Delivery]) -> None:
        for tries_left in reversed(range(CONFLICT_TRIES)):
            try:
                self.done += _apply_in_turn(receiver, deliveries)
                return None
            except Exception as error:
                if not is_conflict(error):
                    raise
                logger.info("%s: repeated after a conflict: %s", receiver.name, error)
                if connection.errors_occurred:
                    connection.close_if_unusable_or_obsolete()
                if not tries_left:
                    self.failed_lanes.update(map(_lane, deliveries))
                    return settle.hand_back(deliveries, delay_s=CONFLICT_DELAY_S)
                time.sleep(random.uniform(0, 0.05))  # noqa: S311
        return None

    def _fail(
        self, receiver: Receiver, delivery: Delivery, error: Exception, started_at: datetime
    ) -> None:
        self.failed_lanes.add(_lane(delivery))
        if isinstance(error, settle.LeaseLost):
            logger.warning("%s: delivery %s: %s", receiver.name, delivery.pk, error)
        elif isinstance(error, RetryLater):
            settle.postpone(delivery, error.seconds)
        else:
            retry_in_s = _retry_in_s(receiver, delivery, error)
            settle.fail(delivery, describe(error), started_at=started_at, retry_in_s=retry_in_s)
            _log_failure(delivery, error, retry_in_s)


def _apply_in_turn(receiver: Receiver, deliveries: Sequence[Delivery]) -> int:
    if receiver.guarantee is Guarantee.EXACTLY_ONCE:
        with turn():
            return apply(receiver, deliveries)
    return apply(receiver, deliveries)  # it may wait for the outside world; nobody waits for it


def _lane(delivery: Delivery) -> Lane:
    # One without a position has no lane: its failure holds nobody up.
    if delivery.position is None:
        return ("", "", f"delivery {delivery.pk}")
    return (delivery.receiver, delivery.target, delivery.key)


def _retry_in_s(receiver: Receiver, delivery: Delivery, error: Exception) -> float | None:
    """Return the seconds until the next attempt, or None where the delivery is dead."""
    final = (
        isinstance(error, PermanentFailure)
        or receiver.guarantee is Guarantee.AT_MOST_ONCE
        or receiver.retry.is_exhausted(delivery.attempts)
    )
    return None if final else receiver.retry.delay_s(delivery.attempts)


def _log_failure(delivery: Delivery, error: Exception, retry_in_s: float | None) -> None:
    outlook = (
        f"is dead; `manage.py replay --event {delivery.event_id}` puts it back"
        if retry_in_s is None
        else f"is tried again in {retry_in_s:.0f} s"
    )
    logger.error(
        "%s failed on event %s (attempt %d: %s) and %s.",
        delivery.receiver,
        delivery.event_id,
        delivery.attempts,
        type(error).__name__,
        outlook,
    )
