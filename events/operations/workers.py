"""Which workers there are, as their sweeps note it, and how each queue is served."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import Count
from django.db.models.functions import Now

from events import queue as doorbell
from events.delivery import progress
from events.delivery.clock import database_now
from events.delivery.owner import owner_of
from events.models import Delivery
from events.noted import SeenWorker
from events.receivers import all_queues

GONE_AFTER = timedelta(seconds=30)  # it is noted every five
FORGOTTEN_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker that has been seen within the hour."""

    worker: SeenWorker
    is_gone: bool  # it stopped, or can't reach the database
    stuck: dict[str, str]  # what is stuck, by queue


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """How a queue is served."""

    name: str
    workers: int  # that serve it and are there
    running: int  # deliveries under a lease
    bells: int | None  # None: they wait where we can't count them
    stuck: str  # what is stuck in a worker's cluster; "": nothing


def note(queues: Sequence[str]) -> None:
    """Note that this worker is there, and what is stuck. Its sweep does, whatever else is stuck."""
    SeenWorker.objects.bulk_create(
        [
            SeenWorker(
                name=owner_of(os.getppid()),  # the sweep's parent: no other worker is ever so named
                host=f"{socket.gethostname()[:80]} ({os.getppid()})",
                queues={queue: _what_is_stuck(queue) for queue in queues},
                release=settings.RELEASE,
            )
        ],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["host", "queues", "release", "seen_at"],
    )
    SeenWorker.objects.filter(seen_at__lt=Now() - FORGOTTEN_AFTER).delete()


def worker_statuses() -> list[WorkerStatus]:
    """Return the workers that were seen lately, the latest first."""
    now = database_now()
    return [
        WorkerStatus(
            worker=worker,
            is_gone=worker.seen_at < now - GONE_AFTER,
            stuck={queue: what for queue, what in sorted(worker.queues.items()) if what},
        )
        for worker in SeenWorker.objects.order_by("-seen_at", "name")
    ]


def queue_statuses(workers: Sequence[WorkerStatus]) -> list[QueueStatus]:
    """Return how each queue of this release is served by these workers."""
    there = [each for each in workers if not each.is_gone]
    running = _running()
    bells = doorbell.waiting_bells()
    return [
        QueueStatus(
            name=queue,
            workers=sum(queue in each.worker.queues for each in there),
            running=running.get(queue, 0),
            bells=None if bells is None else bells.get(queue, 0),
            stuck=next((each.stuck[queue] for each in there if queue in each.stuck), ""),
        )
        for queue in all_queues()
    ]


def _running() -> dict[str, int]:
    leased = Delivery.objects.filter(lease_expires_at__isnull=False).values("queue")
    rows = leased.annotate(count=Count("pk")).order_by()
    return {row["queue"]: row["count"] for row in rows}


def _what_is_stuck(queue: str) -> str:
    path = progress.path_of(os.getppid(), queue)  # the sweep is a child of the supervisor
    return progress.Progress(path).what_is_stuck() if path.exists() else ""
