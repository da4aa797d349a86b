"""Raise an alarm once when it begins, and end it once, whichever of the workers sees it first.

The sweeps of all workers look. The row and the event that tells of it are one transaction, and a
constraint lets one begin: so mails and webhooks, which receivers of that event send, go out once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from events.models import Delivery
from events.operations.chunks import in_short_transaction
from events.operations.glance import Glance, glance
from project.alarms.models import Alarm, AlarmKind
from project.alarms.thresholds import threshold_s
from project.signals import AlarmBegan, AlarmEnded, alarm_began, alarm_ended

CALM = 0.5  # of its threshold: below that share overdue ends, so that it does not come and go

Subject = tuple[str, str]  # a receiver, and what is wrong with it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look at the receivers says of alarms."""

    known: set[str]  # the receivers that this release has
    wrong: dict[Subject, Glance]
    undecided: set[Subject]  # neither wrong nor well: an alarm stays as it is


def watch(queues: Sequence[str] = ()) -> None:
    """Look at every receiver, raise what has begun and end what is over."""
    look = _look(glance())
    raised = {(alarm.receiver, alarm.kind): alarm for alarm in open_alarms()}
    for subject in look.wrong.keys() - raised.keys():
        in_short_transaction(partial(_begin, subject, look.wrong[subject]))
    for subject in raised.keys() - look.wrong.keys() - look.undecided:
        if subject[0] not in look.known and _is_owed_something(subject[0]):
            continue  # another release's, which may have workers of its own
        in_short_transaction(partial(_end, raised[subject]))


def open_alarms() -> list[Alarm]:
    """Return the alarms that are not over, the oldest first."""
    return list(Alarm.objects.filter(ended_at__isnull=True).order_by("began_at", "pk"))


def _look(receivers: Sequence[Glance]) -> _Look:
    look = _Look(known={seen.receiver for seen in receivers}, wrong={}, undecided=set())
    for seen in receivers:
        for subject, is_wrong in _judgements(seen):
            if is_wrong:
                look.wrong[subject] = seen
            elif is_wrong is None:
                look.undecided.add(subject)
    return look


def _judgements(seen: Glance) -> Iterator[tuple[Subject, bool | None]]:
    yield (seen.receiver, AlarmKind.DEAD), seen.dead > 0
    yield (seen.receiver, AlarmKind.OVERDUE), _is_overdue(seen)


def _is_overdue(seen: Glance) -> bool | None:
    threshold = threshold_s(seen.receiver)
    if not threshold:
        return False
    if seen.paused:  # somebody knows
        return None
    age_s = seen.oldest_due_age_s or 0.0
    if age_s >= threshold:
        return True
    return None if age_s >= threshold * CALM else False


def _is_owed_something(receiver: str) -> bool:
    return Delivery.objects.filter(receiver=receiver, finished_at__isnull=True).exists()


def _begin(subject: Subject, seen: Glance) -> None:
    alarm = Alarm(receiver=subject[0], kind=subject[1])
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
