"""The doorbell: tell a queue's workers that there is work. What the work is, the database knows."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from django_q.brokers import Broker, get_broker
from django_q.tasks import async_task

logger = logging.getLogger(__name__)

DRAIN = "events.delivery.drain.drain"
QUIET_AFTER_FAILURE_S = 5.0

_collected: ContextVar[set[str] | None] = ContextVar("collected_rings", default=None)
_quiet_until = 0.0  # monotonic; per process, for all its threads and queues: one broker serves all


def ring(queue: str) -> None:
    """Ring a queue's bell, unless one already waits unclaimed. Never raises.

    A bell that cannot be rung costs nobody anything but time: the sweep rings again each second.
    """
    collected = _collected.get()
    if collected is not None:
        collected.add(queue)
    elif time.monotonic() >= _quiet_until:
        _ring_now(queue)


@contextmanager
def rings_collected(but: set[str]) -> Iterator[None]:
    """Collect the rings of a block and ring each queue once at its end, but for those in `but`.

    What is rung is added to `but`.
    """
    queues: set[str] = set()
    token = _collected.set(queues)
    try:
        yield
    finally:
        _collected.reset(token)
        for queue in sorted(queues - but):
            but.add(queue)
            ring(queue)


def _ring_now(queue: str) -> None:
    global _quiet_until
    try:
        # The broker enqueues only where no bell waits; no result row is kept.
        async_task(DRAIN, queue, cluster=queue, broker=_broker(queue), task_name=f"drain {queue}")
    except Exception:
        # A broker that refuses or hangs must not slow every commit that follows.
        _quiet_until = time.monotonic() + QUIET_AFTER_FAILURE_S
        logger.warning(
            "The bell of queue %r could not be rung; quiet for %g s, then the sweep rings.",
            queue,
            QUIET_AFTER_FAILURE_S,
            exc_info=True,
        )


@cache
def _broker(queue: str) -> Broker:
    # One per process and queue: with Redis, a broker holds the connection.
    return get_broker(queue)
