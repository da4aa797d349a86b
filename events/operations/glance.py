"""What waits for each receiver at this moment, at a cost that does not grow with how much it is.

`events.operations.status` counts to the end, for programs. This is for pages that are open all day,
and for alarms: counts stop at a bound, and everything is read by index.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Count, QuerySet
from django.db.models.functions import Now

from events.delivery.claimable import claimable_deliveries, due_deliveries, readable_types
from events.delivery.clock import database_now
from events.models import Delivery, DeliveryState, ReceiverState
from events.operations.bounded import MOST
from events.receivers import Receiver, all_receivers


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """One receiver's deliveries. Each count may be MOST + 1: more than that many."""

    receiver: str
    queue: str
    guarantee: str
    paused: ReceiverState | None  # None: it runs
    due: int  # 0 while it is paused
    later: int  # to be tried later, or while it is paused
    running: int
    waiting: int  # parked behind an earlier one of their lane
    dead: int
    oldest_due_age_s: float | None  # None: nothing is due, or it is paused


def glance() -> list[Glance]:
    """Return how every receiver of this release is doing. Four statements."""
    paused = {state.name: state for state in ReceiverState.objects.exclude(paused_at=None)}
    running, now = _running(), database_now()
    receivers = all_receivers()
    seen = dict(zip(receivers, _figures(receivers), strict=True))
    return [
        _glance(receiver, figures, paused.get(receiver.name), running.get(receiver.name, 0), now)
        for receiver, figures in seen.items()
    ]


def _glance(
    receiver: Receiver,
    figures: tuple[int, int, int, int, datetime | None],
    paused: ReceiverState | None,
    running: int,
    now: datetime,
) -> Glance:
    due, later, waiting, dead, oldest = figures
    return Glance(
        receiver=receiver.name,
        queue=receiver.queue,
        guarantee=receiver.guarantee,
        paused=paused,
        due=0 if paused else due,
        later=min(MOST + 1, due + later) if paused else later,
        running=running,
        waiting=waiting,
        dead=dead,
        oldest_due_age_s=None if paused or oldest is None else _age_s(oldest, now),
    )


def _age_s(oldest: datetime, now: datetime) -> float:
    return max(0.0, round((now - oldest).total_seconds(), 3))


def _running() -> dict[str, int]:
    """Return how many run, by receiver. There are never more than workers have claimed."""
    leased = Delivery.objects.filter(lease_expires_at__isnull=False).values("receiver")
    rows = leased.annotate(count=Count("pk")).order_by()
    return {row["receiver"]: row["count"] for row in rows}


def _figures(
    receivers: tuple[Receiver, ...],
) -> Iterator[tuple[int, int, int, int, datetime | None]]:
    """Yield due, later, waiting, dead and when the oldest came due, receiver by receiver."""
    if not receivers:
        return
    sql, parameters = _question(receivers, readable_types())
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        for *counts, oldest in cursor.fetchall():
            due, later, waiting, dead = counts
            yield due, later, waiting, dead, _as_time(oldest)


@lru_cache(maxsize=4)
def _question(receivers: tuple[Receiver, ...], readable: Hashable) -> tuple[str, list[Any]]:
    """Return one statement: a row for each receiver, in it a bounded subquery for each figure.

    Its text is kept for as long as this process reads the same types: to make it takes longer than
    to answer it.
    """
    rows: list[str] = []
    parameters: list[Any] = []
    for receiver in receivers:
        columns = [
            _count(due_deliveries(receiver).order_by("due_at")),
            _count(claimable_deliveries(receiver).filter(due_at__gt=Now()).order_by("due_at")),
            _count(_in(receiver, DeliveryState.WAITING).order_by("target", "key", "position")),
            _count(_in(receiver, DeliveryState.DEAD).order_by("fingerprint", "died_at")),
            _oldest(receiver),
        ]
        rows.append("SELECT " + ", ".join(sql for sql, _ in columns))
        parameters += [value for _, values in columns for value in values]
    return " UNION ALL ".join(rows), parameters


def _in(receiver: Receiver, state: DeliveryState) -> QuerySet[Delivery]:
    return Delivery.objects.filter(receiver=receiver.name, state=state)


def _count(rows: QuerySet[Delivery]) -> tuple[str, tuple[Any, ...]]:
    # In the order of an index: else the database may well go through the table for them.
    sql, parameters = rows.values("pk")[: MOST + 1].query.sql_with_params()
    return f"(SELECT COUNT(*) FROM ({sql}) counted)", parameters  # noqa: S608  # Django's own


def _oldest(receiver: Receiver) -> tuple[str, tuple[Any, ...]]:
    oldest = due_deliveries(receiver).order_by("due_at").values("due_at")[:1]
    sql, parameters = oldest.query.sql_with_params()
    return f"({sql})", parameters


def _as_time(shown: Any) -> datetime | None:
    """Return a time as the database shows it: SQLite has no zones, and means UTC."""
    at = datetime.fromisoformat(shown) if isinstance(shown, str) else shown
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
