"""Count what has happened since it was last counted: totals for metrics, whoever scrapes where.

What the web and worker processes do, the database knows; so the totals stand there too. A call
costs what is new since the last one, not what history is, and calls at once count nothing twice.
"""

from collections import Counter as Totals
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, Q, Sum

from events.delivery.clock import database_now
from events.models import Attempt, Delivery, Event
from events.receivers import all_receivers
from events.tallies import Tally, TallyMark

FINISHED = "finished"  # deliveries, by receiver and state
FAILED = "failed"  # attempts, by receiver
LATENCY = "latency"  # seconds from publish to done, by receiver, in buckets
PUBLISHED = "published"  # events, by type

# Upper bounds in seconds. Cumulative, as Prometheus has them.
BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
ALL, SUM_S = "+Inf", "sum"

# A row's time is set before its transaction commits. No transaction of ours stays open for longer.
LAG = timedelta(seconds=30)
STEP = timedelta(minutes=5)  # of history in one call, however long nobody called
_MARK = "history"

Key = tuple[str, str, str]  # metric, label, bucket or state


def count_on() -> None:
    """Count what has happened up to half a minute ago, at most five minutes of it.

    The first call ever begins with the present: totals are of what happened since.
    """
    with transaction.atomic():
        settled = database_now() - LAG
        mark = _locked_mark(settled)
        until = min(settled, mark.counted_to + STEP)
        if until <= mark.counted_to:
            return
        totals: Totals[Key] = Totals()
        totals.update(dict(_finished(mark.counted_to, until)))
        totals.update(dict(_failed(mark.counted_to, until)))
        totals.update(_published(mark, until))
        _add(totals)
        mark.counted_to = until
        mark.save()


def bucket_name(bound_s: float) -> str:
    """Return a bucket's name as Prometheus writes it."""
    return repr(bound_s)


def _locked_mark(settled: datetime) -> TallyMark:
    mark = TallyMark.objects.select_for_update().filter(pk=_MARK).first()
    if mark is not None:
        return mark
    last = Event.objects.filter(occurred_at__lte=settled).order_by("-position").first()
    first = TallyMark(name=_MARK, counted_to=settled, position=last.position if last else 0)
    TallyMark.objects.bulk_create([first], ignore_conflicts=True)  # somebody else may, too
    return TallyMark.objects.select_for_update().get(pk=_MARK)


def _finished(after: datetime, until: datetime) -> Iterator[tuple[Key, float]]:
    latency = ExpressionWrapper(
        F("finished_at") - F("event__occurred_at"), output_field=DurationField()
    )
    # What was replayed or backfilled has no position, and no latency that says anything.
    timed = Q(state="done", position__isnull=False)
    bounds = {
        f"within_{number}": Count("pk", filter=timed & Q(latency__lte=timedelta(seconds=bound_s)))
        for number, bound_s in enumerate(BUCKETS_S)
    }
    names = [receiver.name for receiver in all_receivers()]  # the index begins with them
    rows: Any = (  # the columns of `bounds` have names made here
        Delivery.objects.filter(receiver__in=names, finished_at__gt=after, finished_at__lte=until)
        .annotate(latency=latency)
        .values("receiver", "state")
        .annotate(
            count=Count("pk"),
            timed=Count("pk", filter=timed),
            lasted=Sum("latency", filter=timed),
            **bounds,
        )
    )
    for row in rows.order_by():
        receiver = row["receiver"]
        yield (FINISHED, receiver, row["state"]), row["count"]
        if row["timed"]:
            for number, bound_s in enumerate(BUCKETS_S):
                yield (LATENCY, receiver, bucket_name(bound_s)), row[f"within_{number}"]
            yield (LATENCY, receiver, ALL), row["timed"]
            yield (LATENCY, receiver, SUM_S), max(0.0, row["lasted"].total_seconds())


def _failed(after: datetime, until: datetime) -> Iterator[tuple[Key, float]]:
    failed = Attempt.objects.filter(ended_at__gt=after, ended_at__lte=until)
    rows = failed.values("delivery__receiver").annotate(count=Count("pk")).order_by()
    for row in rows:
        yield (FAILED, row["delivery__receiver"], ""), row["count"]


def _published(mark: TallyMark, until: datetime) -> dict[Key, int]:
    """Count events in order of the log, up to the first that is too young; move the mark there."""
    uncounted = Event.objects.filter(position__gt=mark.position)
    young = uncounted.filter(occurred_at__gt=until).order_by("position").first()
    if young is not None:
        uncounted = uncounted.filter(position__lt=young.position)
    rows = uncounted.values("type").annotate(count=Count("pk"), last=Max("position")).order_by()
    counts = {(PUBLISHED, row["type"], ""): row["count"] for row in rows}
    mark.position = max([mark.position, *(row["last"] for row in rows)])
    return counts


def _add(new: Totals[Key]) -> None:
    stored = {(t.metric, t.label, t.bucket): t.value for t in Tally.objects.all()}
    rows = [
        Tally(metric=key[0], label=key[1], bucket=key[2], value=stored.get(key, 0) + value)
        for key, value in new.items()
    ]
    Tally.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["metric", "label", "bucket"],
        update_fields=["value"],
    )
