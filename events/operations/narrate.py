"""A story as lines for people, in the active language, and as JSON types for programs."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from events.models import Attempt
from events.operations.story import Chapter, Fact, Stop, Story
from events.operations.trouble import Verdict
from events.operations.wording import describe, joined

LABEL_WIDTH = 9  # of the words before the verdict's sentences


def lines_of(story: Story, verdict: Verdict) -> list[str]:
    """Return the story in order of time. The last three lines are the verdict."""
    cut = [_("(Earlier events are left out.)")] if story.is_cut else []
    told = [line for _at, lines in sorted(_told(story), key=lambda t: t[0]) for line in lines]
    return [
        _("%(name)s, key %(key)s") % {"name": story.name, "key": story.key},
        *cut,
        *told,
        "",
        _labelled(_("VERDICT"), _what(verdict)),
        _labelled(_("BECAUSE"), verdict.because),
        _labelled(_("DO"), verdict.do),
    ]


def _what(verdict: Verdict) -> str:
    if not verdict.others:
        return verdict.what
    more = _("(Not done besides: %(count)d.)") % {"count": verdict.others}
    return joined(verdict.what, more)


def _labelled(label: str, text: str) -> str:
    return f"{label:<{LABEL_WIDTH}}{text}"


def story_document(story: Story) -> dict[str, Any]:
    """Return the story as JSON types: times are RFC 3339, durations seconds."""
    return {
        "name": story.name,
        "key": story.key,
        "is_cut": story.is_cut,
        "events": [_event(chapter) for chapter in story.chapters],
        "facts": [_fact(fact) for fact in story.facts],
        "remarks": [{"text": r.text, "do": r.do, "is_broken": r.is_broken} for r in story.remarks],
    }


def _told(story: Story) -> Iterator[tuple[datetime, list[str]]]:
    for fact in story.facts:
        yield fact.at, [f"{_time(fact.at)}  {fact.text}"]
    for chapter in story.chapters:
        yield chapter.event.occurred_at, list(_chapter_lines(chapter, story))


def _chapter_lines(chapter: Chapter, story: Story) -> Iterator[str]:
    event = chapter.event
    yield f"{_time(event.occurred_at)}  {_headline(chapter, story)}"
    for stop in chapter.stops:
        yield f"    → {stop.delivery.receiver}: {describe(stop)}"
        for failure in stop.failures:
            yield f"        {_failure_line(failure)}"
    lacking = _("no delivery")
    for receiver in chapter.lacking:
        yield f"    → {receiver}: {lacking}"


def _headline(chapter: Chapter, story: Story) -> str:
    """Return which event it is, about whom where that is another, and what caused it."""
    event = chapter.event
    named = {"type": f"{event.type} v{event.version}", "key": event.key, "id": event.event_id}
    headline = (
        _("%(type)s, event %(id)s")
        if event.key == story.key
        else _("%(type)s about %(key)s, event %(id)s")
    ) % named
    if not event.causation_id:
        return headline
    return _("%(event)s, caused by %(cause)s") % {"event": headline, "cause": event.causation_id}


def _failure_line(failure: Attempt) -> str:
    seconds = (failure.ended_at - failure.started_at).total_seconds()
    error = f"{failure.error_class}: {failure.error_message.partition(chr(10))[0]}"
    told = {"at": _time(failure.started_at), "number": failure.number, "seconds": seconds}
    failed = _("%(at)s attempt %(number)d failed after %(seconds).3f s") % told
    release = _("release %(release)s") % {"release": failure.release}
    return f"{failed}, {release}: {error}" if failure.release else f"{failed}: {error}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _event(chapter: Chapter) -> dict[str, Any]:
    event = chapter.event
    return {
        "id": str(event.event_id),
        "type": event.type,
        "version": event.version,
        "key": event.key,
        "occurred_at": event.occurred_at.isoformat(),
        "correlation_id": event.correlation_id,
        "causation_id": str(event.causation_id) if event.causation_id else None,
        "deliveries": [_delivery(stop) for stop in chapter.stops],
        "lacking": list(chapter.lacking),
    }


def _delivery(stop: Stop) -> dict[str, Any]:
    delivery = stop.delivery
    return {
        "receiver": delivery.receiver,
        "target": delivery.target,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "due_at": _iso(delivery.due_at),
        "lease_expires_at": _iso(delivery.lease_expires_at),
        "finished_at": _iso(delivery.finished_at),
        "lasted_s": stop.lasted_s,
        "last_error": delivery.last_error,
        "behind_event": str(stop.behind.event_id) if stop.behind else None,
        "failures": [_failure(failure) for failure in stop.failures],
    }


def _failure(failure: Attempt) -> dict[str, Any]:
    return {
        "number": failure.number,
        "started_at": failure.started_at.isoformat(),
        "ended_at": failure.ended_at.isoformat(),
        "error_class": failure.error_class,
        "error_message": failure.error_message,
        "fingerprint": failure.fingerprint,
        "release": failure.release,
    }


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "at": fact.at.isoformat(),
        "text": fact.text,
        "event": str(fact.event_id) if fact.event_id else None,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
