"""How the receivers are doing: backlog, age, rate and latency of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from django.db.models import Count, Min, QuerySet
from django.db.models.functions import Now

from events.delivery.claimable import known_types
from events.models import Delivery, DeliveryState, ReceiverState
from events.receivers import Receiver, all_receivers

RATE_WINDOW_S = 300
LATENCY_SAMPLE = 1000  # the newest finished deliveries within the window


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverStatus:
    """One receiver's deliveries at a moment. Times in seconds; None where there is none."""

    receiver: str
    queue: str
    guarantee: str
    paused: bool
    due: int
    scheduled: int  # to be tried again later
    running: int
    waiting: int  # behind an earlier one of their lane
    dead: int
    oldest_due_age_s: float | None
    rate_per_s: float  # done, over the last five minutes
    p50_s: float | None  # from publish to done, of the newest within the last five minutes
    p95_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What could be run now."""

    count: int
    oldest_age_s: float | None


NOTHING_DUE = Due(count=0, oldest_age_s=None)


def receiver_statuses() -> list[ReceiverStatus]:
    """Return the status of every receiver this release has. The database's clock is used.

    A handful of statements, and one more for each receiver that was done with something lately.
    """
    unfinished, due, done = unfinished_counts(), due_by_receiver(), _done_lately()
    paused = paused_receivers()
    return [
        _status(
            receiver,
            unfinished.get(receiver.name, {}),
            due.get(receiver.name, NOTHING_DUE),
            done.get(receiver.name, 0),
            paused=receiver.name in paused,
        )
        for receiver in all_receivers()
    ]


def paused_receivers() -> set[str]:
    """Return the names of the receivers that are paused."""
    paused = ReceiverState.objects.filter(paused_at__isnull=False)
    return set(paused.values_list("name", flat=True))


def unfinished_counts() -> dict[str, dict[str, int]]:
    """Return how many deliveries are in each state that is not final, by receiver.

    It costs what the backlog is long, not what history is.
    """
    rows = Delivery.objects.filter(finished_at__isnull=True).values("receiver", "state")
    counts: dict[str, dict[str, int]] = {}
    for row in rows.annotate(count=Count("pk")).order_by():
        counts.setdefault(row["receiver"], {})[row["state"]] = row["count"]
    return counts


def due_by_receiver() -> dict[str, Due]:
    """Return what each receiver that is not paused could be given now; those with something."""
    active = {receiver.name for receiver in all_receivers()} - paused_receivers()
    due = Delivery.objects.filter(known_types(), receiver__in=active, due_at__lte=Now())
    rows = due.values("receiver").annotate(count=Count("pk"), oldest=Min("due_at"), now=Min(Now()))
    return {
        row["receiver"]: Due(
            count=row["count"],
            oldest_age_s=max(0.0, round((row["now"] - row["oldest"]).total_seconds(), 3)),
        )
        for row in rows.order_by()
    }


def _done_lately() -> dict[str, int]:
    rows = _finished([receiver.name for receiver in all_receivers()]).values("receiver")
    return {row["receiver"]: row["count"] for row in rows.annotate(count=Count("pk")).order_by()}


def _status(
    receiver: Receiver, counts: dict[str, int], due: Due, done: int, *, paused: bool
) -> ReceiverStatus:
    latencies = _latencies_s(receiver) if done else []
    return ReceiverStatus(
        receiver=receiver.name,
        queue=receiver.queue,
        guarantee=receiver.guarantee,
        paused=paused,
        due=due.count,
        scheduled=max(0, counts.get(DeliveryState.PENDING, 0) - due.count),
        running=counts.get(DeliveryState.RUNNING, 0),
        waiting=counts.get(DeliveryState.WAITING, 0),
        dead=counts.get(DeliveryState.DEAD, 0),
        oldest_due_age_s=due.oldest_age_s,
        rate_per_s=round(done / RATE_WINDOW_S, 3),
        p50_s=percentile(latencies, 0.50),
        p95_s=percentile(latencies, 0.95),
    )


def _finished(receivers: Sequence[str]) -> QuerySet[Delivery]:
    since = Now() - timedelta(seconds=RATE_WINDOW_S)
    return Delivery.objects.filter(
        receiver__in=receivers, state=DeliveryState.DONE, finished_at__gte=since
    )


def _latencies_s(receiver: Receiver) -> list[float]:
    newest = _finished([receiver.name]).order_by("-finished_at")[:LATENCY_SAMPLE]
    times: list[tuple[datetime, datetime]] = list(
        newest.values_list("event__occurred_at", "finished_at")  # type: ignore[arg-type]
    )
    return sorted(max(0.0, (finished - occurred).total_seconds()) for occurred, finished in times)


def percentile(ascending: list[float], share: float) -> float | None:
    """Return the nearest-rank percentile of sorted values, or None of none."""
    if not ascending:
        return None
    return round(ascending[ceil(share * len(ascending)) - 1], 3)
