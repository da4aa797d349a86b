"""What a story comes to, in three sentences: what is late, why, and what to do about it."""

from collections.abc import Iterator
from datetime import datetime

from events.models import Delivery, DeliveryState
from events.operations.explain import Chapter, Remark, Stop, Story
from events.operations.trouble import NOTHING, Action, Remedy, Severity, Trouble, Verdict
from events.receivers import all_receivers
from events.signals import all_signals

SOON_S = 10  # what is due for no longer than this is about to be run


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
        because=" ".join([worst.because, *(remark.text for remark in story.remarks)]),
        do=worst.do,
        others=len(troubles) - 1,
        remedy=worst.remedy,
    )


def describe(stop: Stop) -> str:
    """Return how a delivery stands, in a few words."""
    delivery = stop.delivery
    times = _times(delivery.attempts)
    words = {
        DeliveryState.DONE: f"done {stop.lasted_s or 0:.3f} s after the event ({times})",
        DeliveryState.DEAD: f"dead ({times}): {delivery.last_error}",
        DeliveryState.SKIPPED: f"skipped by {delivery.skipped_by}: {delivery.skip_reason}",
        DeliveryState.RUNNING: f"running ({times}, lease until {_when(delivery.lease_expires_at)})",
        DeliveryState.WAITING: "waiting behind an earlier one of its lane",
        DeliveryState.PENDING: f"pending, due {_when(delivery.due_at)} ({times})",
    }
    return words[DeliveryState(delivery.state)]


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}" if moment else "-"


def _of_remarks(broken: list[Remark], *, others: int) -> Verdict:
    return Verdict(
        state="broken",
        what="The story breaks off before anything could be delivered.",
        because=" ".join(remark.text for remark in broken),
        do=" ".join(remark.do for remark in broken if remark.do) or NOTHING,
        others=others,
    )


def _all_is_well(story: Story) -> Verdict:
    delivered = (
        "Nothing is late: everything that was published is delivered."
        if story.chapters
        else "Nothing is late: nothing was published."
    )
    return Verdict(
        state="ok",
        what=delivered,
        because=" ".join(remark.text for remark in story.remarks) or "No app has more to say.",
        do=" ".join(remark.do for remark in story.remarks if remark.do) or NOTHING,
    )


def _troubles(story: Story) -> Iterator[Trouble]:
    for chapter in story.chapters:
        yield from (_lacking(chapter, name) for name in chapter.lacking)
        for stop in chapter.stops:
            if trouble := _trouble_with(stop, story):
                yield trouble


def _lacking(chapter: Chapter, receiver: str) -> Trouble:
    event = chapter.event
    return Trouble(
        severity=Severity.BROKEN,
        event_id=event.event_id,
        what=f"{receiver} was never given {event.type}: there is no delivery.",
        because="The process that published it did not know the receiver, or the row was deleted.",
        do=f"`manage.py backfill {receiver} --since {event.occurred_at:%Y-%m-%dT%H:%M:%SZ}`",
    )


def _trouble_with(stop: Stop, story: Story) -> Trouble | None:
    """Return what keeps a delivery from being done, looking at what stands before it first."""
    delivery = stop.delivery
    if delivery.state == DeliveryState.DONE:
        return None
    if delivery.state == DeliveryState.SKIPPED:
        return _trouble(
            stop,
            Severity.GIVEN_UP,
            f"was skipped by {delivery.skipped_by}",
            f"The reason given: {_sentence(delivery.skip_reason or 'none')}",
            f"If it is to happen after all: `{_replay(delivery, state='skipped')}`",
            Action.REPLAY,
        )
    if stop.behind is not None:
        return _trouble_behind(stop, stop.behind, story)
    return _trouble_itself(stop, story)


def _trouble_behind(stop: Stop, head: Delivery, story: Story) -> Trouble:
    before = _trouble_itself(Stop(delivery=head, failures=(), behind=None, now=stop.now), story)
    return Trouble(
        severity=before.severity,
        event_id=stop.delivery.event_id,
        what=f"{_name(stop.delivery)} waits behind an earlier one: event {head.event_id}.",
        because=f"{before.what} {before.because}",
        do=before.do,
        remedy=before.remedy,
    )


def _trouble_itself(stop: Stop, story: Story) -> Trouble:
    return (
        _unknown(stop)
        or _dead(stop)
        or _paused(stop, story)
        or _running(stop)
        or _pending(stop, story)
    )


def _unknown(stop: Stop) -> Trouble | None:
    delivery = stop.delivery
    if delivery.receiver not in {receiver.name for receiver in all_receivers()}:
        what = f"the receiver {delivery.receiver}"
    elif not any(
        signal.type == delivery.type and delivery.version in signal.readable_versions
        for signal in all_signals()
    ):
        what = f"{delivery.type} version {delivery.version}"
    else:
        return None
    return _trouble(
        stop,
        Severity.BROKEN,
        "is parked",
        f"This release does not know {what}; another one wrote the delivery.",
        "Deploy the release that does; or give it up: "
        f"`{_command('skip', delivery)} --state {delivery.state} --by NAME --reason TEXT`",
        Action.SKIP if delivery.state != DeliveryState.RUNNING else None,
    )


def _dead(stop: Stop) -> Trouble | None:
    delivery = stop.delivery
    if delivery.state != DeliveryState.DEAD:
        return None
    return _trouble(
        stop,
        Severity.BROKEN,
        f"is dead after {_times(delivery.attempts)}",
        f"The last error: {_sentence(delivery.last_error)}",
        f"Mend the cause, then `{_replay(delivery)}`",
        Action.REPLAY,
    )


def _paused(stop: Stop, story: Story) -> Trouble | None:
    state = story.paused.get(stop.delivery.receiver)
    if state is None or stop.delivery.state == DeliveryState.RUNNING:
        return None
    by, since = state.paused_by or "somebody", _when(state.paused_at)
    return _trouble(
        stop,
        Severity.BROKEN,
        "waits, for its receiver is paused",
        f"Paused by {by} since {since}: {_sentence(state.pause_reason or 'no reason given')}",
        f"`manage.py resume {state.name}`, when the reason is gone.",
        Action.RESUME,
    )


def _running(stop: Stop) -> Trouble | None:
    delivery = stop.delivery
    if delivery.lease_expires_at is None:
        return None
    if delivery.lease_expires_at > stop.now:
        return _trouble(
            stop, Severity.UNDERWAY, "is being run", "A worker holds it at this moment.", NOTHING
        )
    age_s = (stop.now - delivery.lease_expires_at).total_seconds()
    return _trouble(
        stop,
        Severity.BROKEN,
        "was claimed by a worker that died or overslept",
        f"Its lease ended {age_s:.0f} s ago, and no running worker has taken it back.",
        f"Start a worker: `manage.py worker {delivery.queue}`",
    )


def _pending(stop: Stop, story: Story) -> Trouble:
    due_at = stop.delivery.due_at
    if due_at is None:
        return _waiting_for_nothing(stop)
    due_for_s = (stop.now - due_at).total_seconds()
    if due_for_s < 0:
        return _later(stop, in_s=-due_for_s)
    if due_for_s <= SOON_S:
        because = f"It is due for {due_for_s:.0f} s."
        return _trouble(stop, Severity.UNDERWAY, "is about to be run", because, NOTHING)
    return _overdue(stop, due_for_s, is_served=stop.delivery.queue in story.working_queues)


def _waiting_for_nothing(stop: Stop) -> Trouble:
    return _trouble(
        stop,
        Severity.BROKEN,
        "waits, though nothing stands before it any more",
        "A running worker wakes it within seconds; none seems to run.",
        f"Start one: `manage.py worker {stop.delivery.queue}`",
    )


def _later(stop: Stop, *, in_s: float) -> Trouble:
    error = stop.delivery.last_error
    return _trouble(
        stop,
        Severity.UNDERWAY,
        f"is tried again in {in_s:.0f} s",
        f"It failed, at last with {_sentence(error)}"
        if error
        else "The receiver asked for it to wait.",
        f"Wait; or mend the cause, then `{_replay(stop.delivery, state='pending')}`",
        Action.REPLAY,
    )


def _overdue(stop: Stop, due_for_s: float, *, is_served: bool) -> Trouble:
    queue = stop.delivery.queue
    if is_served:
        return _trouble(
            stop,
            Severity.UNDERWAY,
            f"is due for {due_for_s:.0f} s",
            f"The workers of the queue {queue} are busy with what was due before.",
            "Wait; `manage.py events_status` shows the backlog.",
        )
    return _trouble(
        stop,
        Severity.BROKEN,
        f"is due for {due_for_s:.0f} s, and nobody claims it",
        f"No worker seems to serve the queue {queue}.",
        f"Start one: `manage.py worker {queue}`",
    )


def _trouble(
    stop: Stop,
    severity: Severity,
    is_how: str,
    because: str,
    do: str,
    action: Action | None = None,
) -> Trouble:
    delivery = stop.delivery
    return Trouble(
        severity=severity,
        event_id=delivery.event_id,
        what=f"{_name(delivery)} {is_how}.",
        because=because,
        do=do,
        remedy=Remedy(action=action, delivery_id=delivery.pk, receiver=delivery.receiver)
        if action
        else None,
    )


def _name(delivery: Delivery) -> str:
    target = f" ({delivery.target})" if delivery.target else ""
    return f"The delivery of {delivery.type} to {delivery.receiver}{target}"


def _replay(delivery: Delivery, state: str = "") -> str:
    return _command("replay", delivery) + (f" --state {state}" if state else "")


def _command(name: str, delivery: Delivery) -> str:
    return f"manage.py {name} --event {delivery.event_id} --receiver {delivery.receiver}"
