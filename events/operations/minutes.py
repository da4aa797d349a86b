"""What the receivers did minute by minute, for the last day: noted once, drawn as often as wanted.

The sweep notes each minute when it is over and whatever happened in it is committed. Of several
workers one does; a minute in which nobody did is made up for within the hour, a few at a time.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, Q, Sum, Window
from django.db.models.functions import Ceil, RowNumber, TruncMinute

from events.delivery.clock import database_now
from events.models import Attempt, Delivery, DeliveryState
from events.noted import Minute
from events.operations.chunks import in_short_transaction
from events.operations.glance import glance
from events.operations.tally import LAG
from events.receivers import all_receivers
from events.tallies import TallyMark

MINUTE = timedelta(minutes=1)
STEP = timedelta(minutes=5)  # of history in one call, however long nobody called
MADE_UP_FOR = timedelta(hours=1)
KEPT = timedelta(hours=25)
_MARK = "minutes"

Slot = tuple[str, datetime]  # a receiver's minute


def note(queues: Sequence[str] = ()) -> None:
    """Note the minutes that are over since the last time, and forget those of the day before.

    They are counted before the transaction: it only writes, so that nobody waits for the counting.
    """
    over = (database_now() - LAG).replace(second=0, microsecond=0)
    mark = TallyMark.objects.filter(pk=_MARK).first()
    counted_to = mark.counted_to if mark else over - MINUTE
    if counted_to >= over:
        return
    since = max(counted_to, over - MADE_UP_FOR)
    until = min(over, since + STEP)
    rows = _minutes(since, until, _waiting() if until == over else {})
    if mark is None:
        first = TallyMark(name=_MARK, counted_to=counted_to, position=0)
        TallyMark.objects.bulk_create([first], ignore_conflicts=True)  # somebody else may, too
    in_short_transaction(partial(_write, rows, counted_to, until))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A stretch of time on a chart."""

    at: datetime  # its beginning
    done: int
    failed: int
    due: int  # at most, at any of its minutes
    oldest_due_age_s: float  # as above


def series(*, minutes: int, step: int, receiver: str = "") -> list[Point]:
    """Return the latest so many minutes, some to a point, of one receiver or all together.

    Whole steps of the clock, none left out. One statement; it reads what was noted, not deliveries.
    """
    now = database_now().replace(second=0, microsecond=0)
    last = now - timedelta(minutes=now.minute % step)
    first = last - timedelta(minutes=minutes - step)
    rows = Minute.objects.filter(at__gte=first)
    if receiver:
        rows = rows.filter(receiver=receiver)
    noted = rows.values("at").annotate(
        done=Sum("done"), failed=Sum("failed"), due=Sum("due"), age=Max("oldest_due_age_s")
    )
    by_step: dict[datetime, list[Any]] = defaultdict(list)
    for row in noted.order_by("at"):
        at = row["at"]
        by_step[at - timedelta(minutes=at.minute % step)].append(row)
    starts = (first + timedelta(minutes=offset) for offset in range(0, minutes, step))
    return [_point(at, by_step[at]) for at in starts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a receiver has been lately, as far as it is noted."""

    per_minute: float  # done, on the average of the latest five minutes that are noted
    p50_s: float | None  # from publish to done, in the latest of them in which something was done
    p95_s: float | None


STILL = Pace(per_minute=0.0, p50_s=None, p95_s=None)
LATELY = 5  # minutes


def paces() -> dict[str, Pace]:
    """Return how fast each receiver was in the latest minutes that are noted. Two statements."""
    mark = TallyMark.objects.filter(pk=_MARK).first()
    if mark is None or mark.counted_to < database_now() - LATELY * MINUTE:
        return {}  # nobody notes anything: no worker runs
    found: dict[str, Pace] = {}
    lately = Minute.objects.filter(at__gte=mark.counted_to - LATELY * MINUTE)
    for minute in lately.order_by("at"):
        before = found.get(minute.receiver, STILL)
        found[minute.receiver] = Pace(
            per_minute=round(before.per_minute + minute.done / LATELY, 1),
            p50_s=before.p50_s if minute.p50_s is None else minute.p50_s,
            p95_s=before.p95_s if minute.p95_s is None else minute.p95_s,
        )
    return found


def _point(at: datetime, rows: list[Any]) -> Point:
    return Point(
        at=at,
        done=sum(row["done"] for row in rows),
        failed=sum(row["failed"] for row in rows),
        due=max((row["due"] for row in rows), default=0),
        oldest_due_age_s=max((row["age"] for row in rows), default=0.0),
    )


def _waiting() -> dict[str, dict[str, float]]:
    """Return what waits for each receiver at this moment; those with something."""
    return {
        seen.receiver: {"due": seen.due, "oldest_due_age_s": seen.oldest_due_age_s}
        for seen in glance()
        if seen.oldest_due_age_s is not None
    }


def _write(rows: list[Minute], counted_to: datetime, until: datetime) -> None:
    """Write what was counted from the mark on, unless another worker is at it or has done it."""
    mine = TallyMark.objects.filter(pk=_MARK, counted_to=counted_to)
    mark = mine.select_for_update(skip_locked=True).first()
    if mark is None:
        return
    Minute.objects.bulk_create(rows, ignore_conflicts=True)
    Minute.objects.filter(at__lt=until - KEPT).delete()
    mark.counted_to = until
    mark.save(update_fields=["counted_to"])


def _minutes(
    since: datetime, until: datetime, waiting: dict[str, dict[str, float]]
) -> list[Minute]:
    """Return what is to be noted. What waits is noted with the last minute."""
    columns: dict[Slot, dict[str, Any]] = defaultdict(dict)
    for (receiver, at), done in _done(since, until).items():
        columns[receiver, at] |= done
    for (receiver, at), count in _failed(since, until).items():
        columns[receiver, at]["failed"] = count
    for receiver, now in waiting.items():
        columns[receiver, until - MINUTE] |= now
    return [Minute(receiver=name, at=at, **values) for (name, at), values in columns.items()]


def _done(since: datetime, until: datetime) -> dict[Slot, dict[str, Any]]:
    """Return how many deliveries were done in each minute, and how long they had taken.

    The nearest-rank percentiles are found by the database: few rows come back. What was replayed or
    backfilled has no position, and no latency that says anything.
    """
    own = [F("receiver"), F("minute")]
    latency = ExpressionWrapper(
        F("finished_at") - F("event__occurred_at"), output_field=DurationField()
    )
    timed = Q(position__isnull=False)
    done = Delivery.objects.filter(
        receiver__in=[receiver.name for receiver in all_receivers()],
        state=DeliveryState.DONE,
        finished_at__gte=since,
        finished_at__lt=until,
    ).annotate(minute=TruncMinute("finished_at"))
    counts = done.values("receiver", "minute").annotate(count=Count("pk")).order_by()
    found = {(row["receiver"], row["minute"]): {"done": row["count"]} for row in counts}
    ranked = done.filter(timed).annotate(
        latency=latency,
        rank=Window(RowNumber(), partition_by=own, order_by=latency.asc()),
        total=Window(Count("pk"), partition_by=own),
    )
    ranks = {name: Ceil(F("total") * share) for name, share in (("p50_s", 0.50), ("p95_s", 0.95))}
    is_wanted = Q(rank=ranks["p50_s"]) | Q(rank=ranks["p95_s"])
    wanted = ranked.filter(is_wanted).annotate(**ranks)
    for row in wanted.values("receiver", "minute", "latency", "rank", *ranks):
        for name in ranks:
            if row["rank"] == row[name]:
                taken_s = row["latency"].total_seconds()
                found[row["receiver"], row["minute"]][name] = max(0.0, taken_s)
    return found


def _failed(since: datetime, until: datetime) -> dict[Slot, int]:
    attempts = Attempt.objects.filter(ended_at__gte=since, ended_at__lt=until)
    rows = (
        attempts.annotate(minute=TruncMinute("ended_at"))
        .values("delivery__receiver", "minute")
        .annotate(count=Count("pk"))
    )
    return {(row["delivery__receiver"], row["minute"]): row["count"] for row in rows.order_by()}
