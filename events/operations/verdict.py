"""What a story comes to, in three sentences: what is late, why, and what to do about it."""

from collections.abc import Iterator

from django.utils.translation import gettext as _

from events.operations.story import Chapter, Remark, Story
from events.operations.stuck import trouble_with
from events.operations.trouble import NOTHING, Severity, Trouble, Verdict
from events.operations.wording import joined


def verdict_on(story: Story) -> Verdict:
    """Return the first broken link of a story, or else what is underway, or that all is well."""
    troubles = list(_troubles(story))
    broken = [remark for remark in story.remarks if remark.is_broken]
    if broken:
        return _of_remarks(broken, others=len(troubles))
    if not troubles:
        return _all_is_well(story)
    # max() returns the first of the worst, and they come in the order of events.
    worst = max(troubles, key=lambda trouble: trouble.severity)
    return Verdict(
        state=worst.severity.name.lower(),
        what=worst.what,
        because=joined(worst.because, *(remark.text for remark in story.remarks)),
        do=worst.do,
        others=len(troubles) - 1,
        remedy=worst.remedy,
    )


def _of_remarks(broken: list[Remark], *, others: int) -> Verdict:
    return Verdict(
        state="broken",
        what=_("The story breaks off before anything could be delivered."),
        because=joined(*(remark.text for remark in broken)),
        do=joined(*(remark.do for remark in broken)) or str(NOTHING),
        others=others,
    )


def _all_is_well(story: Story) -> Verdict:
    delivered = (
        _("Nothing is late: everything that was published is delivered.")
        if story.chapters
        else _("Nothing is late: nothing was published.")
    )
    return Verdict(
        state="ok",
        what=delivered,
        because=joined(*(remark.text for remark in story.remarks)) or _("No app has more to say."),
        do=joined(*(remark.do for remark in story.remarks)) or str(NOTHING),
    )


def _troubles(story: Story) -> Iterator[Trouble]:
    for chapter in story.chapters:
        yield from (_lacking(chapter, name) for name in chapter.lacking)
        for stop in chapter.stops:
            if trouble := trouble_with(stop, story):
                yield trouble


def _lacking(chapter: Chapter, receiver: str) -> Trouble:
    event = chapter.event
    return Trouble(
        severity=Severity.BROKEN,
        event_id=event.event_id,
        what=_("%(receiver)s was never given %(type)s: there is no delivery.")
        % {"receiver": receiver, "type": event.type},
        because=_(
            "The process that published it did not know the receiver, or the row was deleted."
        ),
        do=f"`manage.py backfill {receiver} --since {event.occurred_at:%Y-%m-%dT%H:%M:%SZ}`",
    )
