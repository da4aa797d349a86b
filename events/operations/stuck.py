"""What keeps one delivery from being done, why, and what mends it: in the active language."""

from django.utils.translation import gettext as _

from events.models import Delivery, DeliveryState
from events.operations.story import Stop, Story
from events.operations.trouble import NOTHING, Action, Remedy, Severity, Trouble
from events.operations.wording import command, joined, name_of, sentence, times, when
from events.receivers import all_receivers, queue_of
from events.signals import all_signals

SOON_S = 10  # what is due for no longer than this is about to be run


def trouble_with(stop: Stop, story: Story) -> Trouble | None:
    """Return what keeps a delivery from being done, looking at what stands before it first."""
    delivery = stop.delivery
    if delivery.state == DeliveryState.DONE:
        return None
    if delivery.state == DeliveryState.SKIPPED:
        return _skipped(stop)
    if stop.behind is not None:
        return _trouble_behind(stop, stop.behind, story)
    return _trouble_itself(stop, story)


def _skipped(stop: Stop) -> Trouble:
    delivery = stop.delivery
    reason = sentence(delivery.skip_reason or _("none"))
    return _trouble(
        stop,
        Severity.GIVEN_UP,
        _("%(delivery)s was skipped by %(who)s.") % _named(delivery, who=delivery.skipped_by),
        _("The reason given: %(reason)s") % {"reason": reason},
        _("If it is to happen after all: %(command)s") % _replay(delivery, "--state", "skipped"),
        Action.REPLAY,
    )


def _trouble_behind(stop: Stop, head: Delivery, story: Story) -> Trouble:
    before = _trouble_itself(Stop(delivery=head, failures=(), behind=None, now=stop.now), story)
    return Trouble(
        severity=before.severity,
        event_id=stop.delivery.event_id,
        what=_("%(delivery)s waits behind an earlier one: event %(event)s.")
        % _named(stop.delivery, event=head.event_id),
        because=joined(before.what, before.because),
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
    because, delivery = _what_is_unknown(stop.delivery), stop.delivery
    if not because:
        return None
    options = ("--state", delivery.state, "--by", "NAME", "--reason", "TEXT")
    return _trouble(
        stop,
        Severity.BROKEN,
        _("%(delivery)s is parked.") % _named(delivery),
        because,
        _("Deploy the release that does; or give it up: %(command)s")
        % {"command": f"`{command('skip', delivery, *options)}`"},
        Action.SKIP if delivery.state != DeliveryState.RUNNING else None,
    )


def _what_is_unknown(delivery: Delivery) -> str:
    """Return what this release does not know of a delivery, as a sentence; "": it knows all."""
    if delivery.receiver not in {receiver.name for receiver in all_receivers()}:
        return _(
            "This release does not know the receiver %(receiver)s; another one wrote the delivery."
        ) % {"receiver": delivery.receiver}
    if not any(
        signal.type == delivery.type and delivery.version in signal.readable_versions
        for signal in all_signals()
    ):
        return _(
            "This release does not know %(type)s version %(version)d; another one wrote the "
            "delivery."
        ) % {"type": delivery.type, "version": delivery.version}
    return ""


def _dead(stop: Stop) -> Trouble | None:
    delivery = stop.delivery
    if delivery.state != DeliveryState.DEAD:
        return None
    return _trouble(
        stop,
        Severity.BROKEN,
        _("%(delivery)s is dead after %(attempts)s.")
        % _named(delivery, attempts=times(delivery.attempts)),
        _("The last error: %(error)s") % {"error": sentence(delivery.last_error)},
        _("Mend the cause, then %(command)s") % _replay(delivery),
        Action.REPLAY,
    )


def _paused(stop: Stop, story: Story) -> Trouble | None:
    state = story.paused.get(stop.delivery.receiver)
    if state is None or stop.delivery.state == DeliveryState.RUNNING:
        return None
    return _trouble(
        stop,
        Severity.BROKEN,
        _("%(delivery)s waits, for its receiver is paused.") % _named(stop.delivery),
        _("Paused by %(who)s since %(since)s: %(reason)s")
        % {
            "who": state.paused_by or _("somebody"),
            "since": when(state.paused_at),
            "reason": sentence(state.pause_reason or _("no reason given")),
        },
        _("%(command)s, when the reason is gone.")
        % {"command": f"`manage.py resume {state.name}`"},
        Action.RESUME,
    )


def _running(stop: Stop) -> Trouble | None:
    delivery = stop.delivery
    if delivery.lease_expires_at is None:
        return None
    if delivery.lease_expires_at > stop.now:
        what = _("%(delivery)s is being run.") % _named(delivery)
        because = _("A worker holds it at this moment.")
        return _trouble(stop, Severity.UNDERWAY, what, because, str(NOTHING))
    age_s = (stop.now - delivery.lease_expires_at).total_seconds()
    return _trouble(
        stop,
        Severity.BROKEN,
        _("%(delivery)s was claimed by a worker that died or overslept.") % _named(delivery),
        _("Its lease ended %(seconds).0f s ago, and no running worker has taken it back.")
        % {"seconds": age_s},
        _("Start a worker: %(command)s") % _worker(delivery),
    )


def _pending(stop: Stop, story: Story) -> Trouble:
    due_at = stop.delivery.due_at
    if due_at is None:
        return _waiting_for_nothing(stop)
    due_for_s = (stop.now - due_at).total_seconds()
    if due_for_s < 0:
        return _later(stop, in_s=-due_for_s)
    if due_for_s <= SOON_S:
        what = _("%(delivery)s is about to be run.") % _named(stop.delivery)
        because = _("It is due for %(seconds).0f s.") % {"seconds": due_for_s}
        return _trouble(stop, Severity.UNDERWAY, what, because, str(NOTHING))
    return _overdue(stop, due_for_s, is_served=_queue(stop.delivery) in story.working_queues)


def _waiting_for_nothing(stop: Stop) -> Trouble:
    return _trouble(
        stop,
        Severity.BROKEN,
        _("%(delivery)s waits, though nothing stands before it any more.") % _named(stop.delivery),
        _("A running worker wakes it within seconds; none seems to run."),
        _("Start one: %(command)s") % _worker(stop.delivery),
    )


def _later(stop: Stop, *, in_s: float) -> Trouble:
    delivery = stop.delivery
    because = _("The receiver asked for it to wait.")
    if delivery.last_error:
        because = _("It failed, at last with %(error)s") % {"error": sentence(delivery.last_error)}
    return _trouble(
        stop,
        Severity.UNDERWAY,
        _("%(delivery)s is tried again in %(seconds).0f s.") % _named(delivery, seconds=in_s),
        because,
        _("Wait; or mend the cause, then %(command)s") % _replay(delivery, "--state", "pending"),
        Action.REPLAY,
    )


def _overdue(stop: Stop, due_for_s: float, *, is_served: bool) -> Trouble:
    delivery = stop.delivery
    named, queue = _named(delivery, seconds=due_for_s), {"queue": _queue(delivery)}
    if is_served:
        return _trouble(
            stop,
            Severity.UNDERWAY,
            _("%(delivery)s is due for %(seconds).0f s.") % named,
            _("The workers of the queue %(queue)s are busy with what was due before.") % queue,
            _("Wait; %(command)s shows the backlog.") % {"command": "`manage.py events_status`"},
        )
    return _trouble(
        stop,
        Severity.BROKEN,
        _("%(delivery)s is due for %(seconds).0f s, and nobody claims it.") % named,
        _("No worker seems to serve the queue %(queue)s.") % queue,
        _("Start one: %(command)s") % _worker(delivery),
    )


def _trouble(
    stop: Stop,
    severity: Severity,
    what: str,
    because: str,
    do: str,
    action: Action | None = None,
) -> Trouble:
    delivery = stop.delivery
    return Trouble(
        severity=severity,
        event_id=delivery.event_id,
        what=what,
        because=because,
        do=do,
        remedy=Remedy(action=action, delivery_id=delivery.pk, receiver=delivery.receiver)
        if action
        else None,
    )


def _named(delivery: Delivery, **more: object) -> dict[str, object]:
    return {"delivery": name_of(delivery), **more}


def _replay(delivery: Delivery, *options: str) -> dict[str, str]:
    return {"command": f"`{command('replay', delivery, *options)}`"}


def _worker(delivery: Delivery) -> dict[str, str]:
    return {"command": f"`manage.py worker {_queue(delivery)}`"}


def _queue(delivery: Delivery) -> str:
    return queue_of(delivery.receiver, noted=delivery.queue)
