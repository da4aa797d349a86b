"""Call targeted receivers: many targets side by side, one call at a time to each of them.

A target that hangs keeps one thread waiting, until the receiver's own time limit, and nobody else.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from django.db import connections, transaction
from django.utils import timezone

from events import context, tracing
from events.delivery import settle, verdicts
from events.delivery.claim import claim_for_a_target
from events.delivery.conflict import repeated
from events.delivery.effects import envelope_of
from events.delivery.progress import told
from events.delivery.turns import turn
from events.envelope import Addressed
from events.models import Delivery
from events.receivers import Receiver, all_receivers, get_receiver
from events.retry import RetryLater

logger = logging.getLogger(__name__)

MAX_CALLS = 16  # threads of one drain, each with a connection to the database
MAX_DELIVERIES = 50  # of one call
LOOK_EVERY_S = 0.025  # for work that came while calls are under way


class TargetCalls:
    """The calls that one drain has under way."""

    def __init__(self, queue: str) -> None:
        self.done = 0  # deliveries
        self._queue = queue
        self._is_wanted = any(r.targeted and r.queue == queue for r in all_receivers())
        self._threads: dict[str, threading.Thread] = {}  # by target
        self._changed = threading.Condition()

    def begin(self) -> bool:
        """Begin what is due, as far as threads are free.

        Return whether more may come of calls: one is under way, or was when this last looked.
        """
        under_way = bool(self._threads)
        while self._is_wanted and len(self._threads) < MAX_CALLS:
            under_way = bool(self._threads)  # before looking: one that ends then may hand back
            with turn():
                deliveries = repeated(
                    lambda: claim_for_a_target(self._queue, MAX_DELIVERIES, but=list(self._threads))
                )
            if not deliveries:
                break
            self._start(deliveries)
        return under_way or bool(self._threads)

    def wait(self) -> None:
        """Wait for a call to end, a moment at most: other work may come."""
        with self._changed:
            if self._threads:
                self._changed.wait(LOOK_EVERY_S)

    def join(self) -> None:
        """Wait for all calls to end, each of which has a time limit."""
        for thread in list(self._threads.values()):
            thread.join()

    def _start(self, deliveries: Sequence[Delivery]) -> None:
        receiver, target = get_receiver(deliveries[0].receiver), deliveries[0].target
        told().busy_for(receiver.time_limit_s)
        thread = threading.Thread(
            target=self._run, args=(receiver, target, deliveries), name=f"{receiver.name} {target}"
        )
        with self._changed:
            self._threads[target] = thread
        thread.start()

    def _run(self, receiver: Receiver, target: str, deliveries: Sequence[Delivery]) -> None:
        done = 0
        try:
            done = deliver(receiver, deliveries)
        except Exception:  # what has no verdict is released when its lease ends
            logger.exception("%s: a call to %r got no verdict.", receiver.name, target)
        finally:
            connections.close_all()
            with self._changed:
                self.done += done
                del self._threads[target]
                self._changed.notify_all()


def deliver(receiver: Receiver, deliveries: Sequence[Delivery]) -> int:
    """Call a targeted receiver with deliveries of one claim, and settle them. Return how many
    are done.

    The receiver returns a verdict for each: None where the target has the event, or what an
    ordinary receiver would raise. RetryLater(0) stands for one that it did not come to try.
    """
    held = sorted(settle.ours(deliveries).select_related("event"), key=lambda d: d.event.position)
    if not held:
        return 0
    started_at = timezone.now()
    verdict_of = _call(receiver, held)
    done = [delivery for delivery in held if verdict_of[delivery.pk] is None]
    if done:
        repeated(partial(_finish, done))  # the call is made: only its verdict may be repeated
    _give_others(receiver, held, verdict_of, started_at)
    return len(done)


def _call(receiver: Receiver, held: Sequence[Delivery]) -> dict[int, Exception | None]:
    try:
        addressed = [Addressed(event=envelope_of(d), attempt=d.attempts) for d in held]
        with (
            context.concerning(tuple(held)),
            tracing.processing(receiver.name, [each.event for each in addressed]),
        ):
            verdict_list = receiver.function(held[0].target, addressed)
        return dict(zip([d.pk for d in held], verdict_list, strict=True))
    except Exception as error:
        return dict.fromkeys([d.pk for d in held], error)


def _give_others(
    receiver: Receiver,
    held: Sequence[Delivery],
    verdict_of: dict[int, Exception | None],
    started_at: datetime,
) -> None:
    later: dict[float, list[Delivery]] = {}
    for delivery in held:
        error = verdict_of[delivery.pk]
        if isinstance(error, RetryLater):
            later.setdefault(error.seconds, []).append(delivery)
        elif error is not None:
            verdicts.give(receiver, delivery, error, started_at)
    for seconds, deliveries in later.items():
        verdicts.hand_back(deliveries, delay_s=seconds, run_alone=False)


def _finish(deliveries: Sequence[Delivery]) -> None:
    with transaction.atomic():
        settle.finish(deliveries)
