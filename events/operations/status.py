"""How the receivers are doing: backlog, age, rate and latency of each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from django.db.models import Count, Min, QuerySet
from django.db.models.functions import Now

from events.delivery.claimable import due_deliveries
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


def receiver_statuses() -> list[ReceiverStatus]:
    """Return the status of every receiver this release has. The database's clock is used."""
    counts = _unfinished_counts()
    paused = set(
        ReceiverState.objects.filter(paused_at__isnull=False).values_list("name", flat=True)
    )
    return [_status(r, counts.get(r.name, {}), r.name in paused) for r in all_receivers()]


def _unfinished_counts() -> dict[str, dict[str, int]]:
    rows = Delivery.objects.filter(finished_at__isnull=True).values("receiver", "state")
    counts: dict[str, dict[str, int]] = {}
    for row in rows.annotate(count=Count("pk")).order_by():
        counts.setdefault(row["receiver"], {})[row["state"]] = row["count"]
    return counts


def _status(receiver: Receiver, counts: dict[str, int], paused: bool) -> ReceiverStatus:
    due, oldest_due_age_s = (0, None) if paused else _due(receiver)
    latencies = _latencies_s(receiver)
    return ReceiverStatus(
        receiver=receiver.name,
        queue=receiver.queue,
        guarantee=receiver.guarantee,
        paused=paused,
        due=due,
        scheduled=counts.get(DeliveryState.PENDING, 0) - due,
        running=counts.get(DeliveryState.RUNNING, 0),
        waiting=counts.get(DeliveryState.WAITING, 0),
        dead=counts.get(DeliveryState.DEAD, 0),
        oldest_due_age_s=oldest_due_age_s,
        rate_per_s=round(_finished(receiver).count() / RATE_WINDOW_S, 3),
        p50_s=percentile(latencies, 0.50),
        p95_s=percentile(latencies, 0.95),
    )


def _due(receiver: Receiver) -> tuple[int, float | None]:
    row = due_deliveries(receiver).aggregate(
        count=Count("pk"), oldest=Min("due_at"), now=Min(Now())
    )
    if not row["count"]:
        return 0, None
    return row["count"], max(0.0, round((row["now"] - row["oldest"]).total_seconds(), 3))


def _finished(receiver: Receiver) -> QuerySet[Delivery]:
    since = Now() - timedelta(seconds=RATE_WINDOW_S)
    return Delivery.objects.filter(
        receiver=receiver.name, state=DeliveryState.DONE, finished_at__gte=since
    )


def _latencies_s(receiver: Receiver) -> list[float]:
    newest = _finished(receiver).order_by("-finished_at")[:LATENCY_SAMPLE]
    times: list[tuple[datetime, datetime]] = list(
        newest.values_list("event__occurred_at", "finished_at")  # type: ignore[arg-type]
    )
    return sorted(max(0.0, (finished - occurred).total_seconds()) for occurred, finished in times)


def percentile(ascending: list[float], share: float) -> float | None:
    """Return the nearest-rank percentile of sorted values, or None of none."""
    if not ascending:
        return None
    return round(ascending[ceil(share * len(ascending)) - 1], 3)
