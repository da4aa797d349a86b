"""A story as lines for people, and as JSON types for programs."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from events.models import Attempt
from events.operations.explain import Chapter, Fact, Stop, Story
from events.operations.trouble import Verdict
from events.operations.verdict import describe


def lines_of(story: Story, verdict: Verdict) -> list[str]:
    """Return the story in order of time. The last three lines are the verdict."""
    cut = ["(Earlier events are left out.)"] if story.is_cut else []
    told = [line for _, lines in sorted(_told(story), key=lambda t: t[0]) for line in lines]
    more = f" (Not done besides: {verdict.others}.)" if verdict.others else ""
    return [
        f"{story.name}, key {story.key}",
        *cut,
        *told,
        "",
        f"VERDICT  {verdict.what}{more}",
        f"BECAUSE  {verdict.because}",
        f"DO       {verdict.do}",
    ]


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
    about = f" about {event.key}" if event.key != story.key else ""
    cause = f", caused by {event.causation_id}" if event.causation_id else ""
    what = f"{event.type} v{event.version}{about}, event {event.event_id}{cause}"
    yield f"{_time(event.occurred_at)}  {what}"
    for stop in chapter.stops:
        yield f"    → {stop.delivery.receiver}: {describe(stop)}"
        for failure in stop.failures:
            yield f"        {_failure_line(failure)}"
    for receiver in chapter.lacking:
        yield f"    → {receiver}: no delivery"


def _failure_line(failure: Attempt) -> str:
    release = f", release {failure.release}" if failure.release else ""
    lasted_s = (failure.ended_at - failure.started_at).total_seconds()
    first_line = failure.error_message.partition("\n")[0]
    return (
        f"{_time(failure.started_at)} attempt {failure.number} failed after {lasted_s:.3f} s"
        f"{release}: {failure.error_class}: {first_line}"
    )


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
