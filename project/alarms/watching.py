"""Raise an alarm once when it begins, and end it once, whichever of the workers sees it first.

The sweeps of all workers look. The row and the event that tells of it are one transaction, and a
constraint lets one begin: so mails and webhooks, which receivers of that event send, go out once.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from events.models import Delivery
from events.operations.chunks import in_short_transaction
from events.operations.glance import Glance, glance
from project.alarms.models import Alarm, AlarmKind
from project.alarms.thresholds import threshold_s
from project.signals import AlarmBegan, AlarmEnded, alarm_began, alarm_ended

CALM = 0.5  # of its threshold: below that share overdue ends, so that it does not come and go

Subject = tuple[str, str]  # a receiver, and what is wrong with it


def watch(queues: Sequence[str] = ()) -> None:
    """Look at every receiver, raise what has begun and end what is over."""
    # First what is open: a look from before another worker's end would begin it anew.
    raised = {(alarm.receiver, alarm.kind): alarm for alarm in open_alarms()}
    seen = {each.receiver: each for each in glance()}
    wrong = {subject: each for each in seen.values() for subject in _wrong_with(each)}
    for subject in wrong.keys() - raised.keys():
        in_short_transaction(partial(_begin, subject, wrong[subject]))
    for subject in raised.keys() & wrong.keys():
        _note_worse(raised[subject], wrong[subject])
    for subject in raised.keys() - wrong.keys():
        if _is_over(raised[subject], seen.get(subject[0])):
            in_short_transaction(partial(_end, raised[subject]))


def open_alarms() -> list[Alarm]:
    """Return the alarms that are not over, the oldest first."""
    return list(Alarm.objects.filter(ended_at__isnull=True).order_by("began_at", "pk"))


def ended_alarms(before: datetime) -> QuerySet[Alarm]:
    """Return the alarms that were over before a time."""
    return Alarm.objects.filter(ended_at__lt=before)


def _wrong_with(seen: Glance) -> Iterator[Subject]:
    if seen.dead:
        yield seen.receiver, AlarmKind.DEAD
    threshold = threshold_s(seen.receiver)
    if threshold and (seen.oldest_due_age_s or 0.0) >= threshold:
        yield seen.receiver, AlarmKind.OVERDUE


def _is_over(alarm: Alarm, seen: Glance | None) -> bool:
    """Tell whether an alarm is over that a look, if it saw the receiver, finds nothing wrong of."""
    if seen is None:  # another release's, which may have workers of its own
        return not _is_owed_something(alarm.receiver)
    if alarm.kind == AlarmKind.DEAD:
        return True
    return not seen.paused and not _is_late(alarm)  # paused: somebody knows


def _is_owed_something(receiver: str) -> bool:
    return Delivery.objects.filter(receiver=receiver, finished_at__isnull=True).exists()


def _is_late(alarm: Alarm) -> bool:
    """Tell whether a delivery is due for long, by the alarm's threshold and for any release.

    While one takes the place of another, they may differ in thresholds and in what they can read.
    """
    calm = timedelta(seconds=(alarm.threshold_s or 0) * CALM)
    late = Delivery.objects.filter(receiver=alarm.receiver, due_at__lte=Now() - calm)
    return late.exists()


def _begin(subject: Subject, seen: Glance) -> None:
    receiver, kind = subject
    threshold = threshold_s(receiver) if kind == AlarmKind.OVERDUE else None
    extent = _extent(kind, seen)
    alarm = Alarm(receiver=receiver, kind=kind, threshold_s=threshold, worst=extent)
    try:
        with transaction.atomic():
            alarm.save(force_insert=True)
    except IntegrityError:
        return  # another worker was first, and tells of it
    data = AlarmBegan(
        alarm_id=alarm.pk,
        receiver=alarm.receiver,
        kind=alarm.kind,
        oldest_due_age_s=seen.oldest_due_age_s or 0.0,
        dead=seen.dead,
    )
    alarm_began.publish(data)


def _note_worse(alarm: Alarm, seen: Glance) -> None:
    """Keep how bad it is, where that is news."""
    extent = _extent(alarm.kind, seen)
    if extent <= (alarm.worst or 0):
        return
    better = Q(worst__isnull=True) | Q(worst__lt=extent)  # another worker may have seen more
    mine = Alarm.objects.filter(better, pk=alarm.pk, ended_at__isnull=True)
    in_short_transaction(partial(mine.update, worst=extent))


def _extent(kind: str, seen: Glance) -> int:
    """Return how many deliveries are dead, or for how many seconds one has been due."""
    return seen.dead if kind == AlarmKind.DEAD else round(seen.oldest_due_age_s or 0.0)


def _end(alarm: Alarm) -> None:
    mine = Alarm.objects.filter(pk=alarm.pk, ended_at__isnull=True)
    if not mine.update(ended_at=Now()):
        return  # another worker was first
    alarm.refresh_from_db()
    assert alarm.ended_at  # noqa: S101  # it was set just now
    lasted_s = max(0.0, round((alarm.ended_at - alarm.began_at).total_seconds(), 3))
    alarm_ended.publish(
        AlarmEnded(alarm_id=alarm.pk, receiver=alarm.receiver, kind=alarm.kind, lasted_s=lasted_s)
    )
