"""A story in order of time, for a page: what apps know, and events with what became of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from events.models import Attempt, Delivery, DeliveryState
from events.operations.replay import REPLAYABLE_STATES
from events.operations.skip import SKIPPABLE_STATES
from events.operations.story import Chapter, Fact, Stop, Story
from events.operations.wording import describe

_WORTH_A_REPLAY = set(REPLAYABLE_STATES) - {DeliveryState.DONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """One attempt that failed."""

    attempt: Attempt
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one delivery."""

    delivery: Delivery
    how: str  # in a few words
    behind: Delivery | None
    failures: tuple[Failed, ...]
    replay_id: int | None  # None: not now, or it is done, and a repeat would change nothing
    skip_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened: a fact of an app's, or an event."""

    at: datetime
    fact: Fact | None = None
    chapter: Chapter | None = None
    fates: tuple[Fate, ...] = ()
    gap: str = ""  # the time since the moment before


def timeline_of(story: Story) -> list[Moment]:
    """Return what happened, in order of time."""
    moments = sorted(_moments(story), key=lambda moment: moment.at)
    later = [
        replace(moment, gap=_gap(moment.at - before.at)) for before, moment in pairwise(moments)
    ]
    return [*moments[:1], *later]


def _moments(story: Story) -> Iterator[Moment]:
    for fact in story.facts:
        yield Moment(at=fact.at, fact=fact)
    for chapter in story.chapters:
        yield Moment(
            at=chapter.event.occurred_at,
            chapter=chapter,
            fates=tuple(_fate(stop) for stop in chapter.stops),
        )


def _gap(passed: timedelta) -> str:
    if passed < timedelta(seconds=100):
        return _("+%(seconds).3f s") % {"seconds": passed.total_seconds()}
    rounded = timedelta(seconds=round(passed.total_seconds()))
    clock = str(rounded - timedelta(days=rounded.days))
    if not rounded.days:
        return f"+{clock}"
    days = ngettext("+%(count)d day, %(clock)s", "+%(count)d days, %(clock)s", rounded.days)
    return days % {"count": rounded.days, "clock": clock}


def _fate(stop: Stop) -> Fate:
    delivery = stop.delivery
    return Fate(
        delivery=delivery,
        how=describe(stop),
        behind=stop.behind,
        failures=_failures(stop.failures),
        replay_id=delivery.pk if delivery.state in _WORTH_A_REPLAY else None,
        skip_id=delivery.pk if delivery.state in SKIPPABLE_STATES else None,
    )


def _failures(attempts: Sequence[Attempt]) -> tuple[Failed, ...]:
    return tuple(
        Failed(attempt=each, lasted_s=(each.ended_at - each.started_at).total_seconds())
        for each in attempts
    )
