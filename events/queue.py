"""The doorbell: tell a queue's workers that there is work. What the work is, the database knows.

And the clock: work that is not owed to an event, but due every so many minutes.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Count, Value
from django.db.models.functions import Least
from django.utils import timezone
from django_q.brokers import Broker, get_broker
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

logger = logging.getLogger(__name__)

DRAIN = "events.delivery.drain.drain"
RUN_PERIODIC = "events.delivery.periodic.run"
QUIET_AFTER_FAILURE_S = 5.0

_collected: ContextVar[set[str] | None] = ContextVar("collected_rings", default=None)
_quiet_until = 0.0  # monotonic; per process, for all its threads and queues: one broker serves all


def ring(*queues: str) -> None:
    """Ring bells, all at once, but those of queues where one waits unclaimed. Never raises.

    A bell that cannot be rung costs nobody anything but time: the sweep rings again each second.
    """
    collected = _collected.get()
    if collected is not None:
        collected.update(queues)
    elif queues and time.monotonic() >= _quiet_until:
        _ring_now(queues)


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
        new = queues - but
        but |= new
        ring(*sorted(new))


def _ring_now(queues: Sequence[str]) -> None:
    global _quiet_until
    try:
        # Together: in the database each would be a commit of its own, which waits for the disk.
        payloads = {_broker(queue).list_key: _bell(queue) for queue in queues}
        _broker(queues[0]).ring_all(payloads)
    except Exception:
        # A broker that refuses or hangs must not slow every commit that follows.
        _quiet_until = time.monotonic() + QUIET_AFTER_FAILURE_S
        logger.warning(
            "The bells of %s could not be rung; quiet for %g s, then the sweep rings.",
            ", ".join(queues),
            QUIET_AFTER_FAILURE_S,
            exc_info=True,
        )


def _bell(queue: str) -> str:
    """Return the payload of a queue's bell: a task of django-q2's, of which no result is kept."""
    keeper = _PayloadKeeper(queue)
    async_task(DRAIN, queue, cluster=queue, broker=keeper, task_name=f"drain {queue}")
    return keeper.payload


@dataclass(slots=True)
class _PayloadKeeper:
    """Stands for a broker: keeps what it is to enqueue."""

    list_key: str
    payload: str = ""

    def enqueue(self, payload: str) -> None:
        self.payload = payload


@cache
def _broker(queue: str) -> Broker:
    # One per process and queue: with Redis, a broker holds the connection.
    return get_broker(queue)


def waiting_bells() -> dict[str, int] | None:
    """Return how many bells wait unclaimed, by queue; None where they are not in the database."""
    if settings.QUEUE_BROKER != "orm":
        return None
    unclaimed = OrmQ.objects.filter(lock__lte=timezone.now()).values("key")
    return {row["key"]: row["count"] for row in unclaimed.annotate(count=Count("pk")).order_by()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicWork:
    """Something to be done now and then. Its name is stored in rows."""

    name: str  # "points.settle_due"
    function: str  # the dotted path of a function without arguments
    queue: str  # one that receivers name, or no cluster serves it
    every_minutes: int


_periodic: dict[str, PeriodicWork] = {}


def schedule(name: str, function: str, *, queue: str, every_minutes: int) -> None:
    """Declare that a function is to be called every so many minutes, by a worker of a queue.

    It is called without arguments and outside of a transaction, may be called twice at once, and is
    called again where a process died: it must be idempotent, and short, or do a part each time.
    Calls that were missed while no worker ran are made up for by one. Declare it in `ready()`.
    Raises ImproperlyConfigured where the name is taken by other work.
    """
    work = PeriodicWork(name=name, function=function, queue=queue, every_minutes=every_minutes)
    if _periodic.setdefault(name, work) != work:
        raise ImproperlyConfigured(f"Two schedules are named {name!r}.")


def periodic_work(name: str) -> PeriodicWork | None:
    """Return declared work, or None where this release declares none of that name."""
    return _periodic.get(name)


def all_periodic_work() -> tuple[PeriodicWork, ...]:
    """Return all declared work, in order of name."""
    return tuple(_periodic[name] for name in sorted(_periodic))


def forget_calls(name: str) -> None:
    """Forget the calls of work that workers have taken: it is done, or was tried."""
    get_broker().forget_calls(name)


def come_again(name: str, *, minutes: int) -> None:
    """Let the next call of work come in so many minutes, unless it is due sooner."""
    soon = timezone.now() + timedelta(minutes=minutes)
    Schedule.objects.filter(func=RUN_PERIODIC, name=name).update(
        # What is compared is what the scheduler wrote meanwhile: this waits for its lock.
        next_run=Least("next_run", Value(soon))
    )


def synchronise_schedules() -> None:
    """Make django-q2's schedules those that are declared. Workers do this time and again.

    A schedule that is there keeps the time of its next run; of two with one name (two workers may
    have started at once) one goes. What is not declared stays: another release may know it.
    """
    declared = {work.name: _columns(work) for work in all_periodic_work()}
    stored = Schedule.objects.filter(func=RUN_PERIODIC, name__in=declared)
    if sorted(stored.values_list(*_COLUMNS)) == sorted(declared.values()):
        return
    with transaction.atomic():
        by_name = {row.name: row for row in stored.order_by("-pk")}  # the oldest of each name
        stored.exclude(pk__in=[row.pk for row in by_name.values()]).delete()
        for name, columns in declared.items():
            given = dict(zip(_COLUMNS, columns, strict=True))
            if name in by_name:
                # These columns only: the scheduler may plan the next run at this moment.
                Schedule.objects.filter(pk=by_name[name].pk).update(**given)
            else:
                Schedule.objects.create(func=RUN_PERIODIC, schedule_type=Schedule.MINUTES, **given)


_COLUMNS = ("name", "args", "cluster", "minutes")


def _columns(work: PeriodicWork) -> tuple[str, str, str, int]:
    return (work.name, repr((work.name,)), work.queue, work.every_minutes)
