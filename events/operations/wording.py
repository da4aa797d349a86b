"""How a delivery stands, and its parts of speech, in the active language."""

from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from events.models import Delivery, DeliveryState
from events.operations.story import Stop

_ENDS = (".", "!", "?", "。", "！", "？")


def describe(stop: Stop) -> str:
    """Return how a delivery stands, in a few words."""
    delivery = stop.delivery
    words = {
        DeliveryState.DONE: _("done %(seconds).3f s after the event (%(attempts)s)"),
        DeliveryState.DEAD: _("dead (%(attempts)s): %(error)s"),
        DeliveryState.SKIPPED: _("skipped by %(who)s: %(reason)s"),
        DeliveryState.RUNNING: _("running (%(attempts)s, lease until %(lease)s)"),
        DeliveryState.WAITING: _("waiting behind an earlier one of its lane"),
        DeliveryState.PENDING: _("pending, due %(due)s (%(attempts)s)"),
    }
    return words[DeliveryState(delivery.state)] % {
        "seconds": stop.lasted_s or 0,
        "attempts": _attempts(stop),
        "error": delivery.last_error,
        "who": delivery.skipped_by,
        "reason": delivery.skip_reason,
        "lease": when(delivery.lease_expires_at),
        "due": when(delivery.due_at),
    }


def _attempts(stop: Stop) -> str:
    counted = times(stop.delivery.attempts)
    if not stop.is_counted_anew:
        return counted
    return _("%(attempts)s since a replay") % {"attempts": counted}


def times(attempts: int) -> str:
    """Return how often something was tried."""
    return ngettext("%(count)d attempt", "%(count)d attempts", attempts) % {"count": attempts}


def sentence(text: str) -> str:
    """Return a text that ends as a sentence does."""
    return text if text.endswith(_ENDS) else _("%(text)s.") % {"text": text}


def joined(*sentences: str) -> str:
    """Return sentences one after the other; empty ones are left out."""
    return " ".join(each for each in sentences if each)


def when(moment: datetime | None) -> str:
    """Return a moment in UTC, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%SZ}" if moment else "-"


def name_of(delivery: Delivery) -> str:
    """Return what a sentence about a delivery begins with."""
    named = {"type": delivery.type, "receiver": delivery.receiver, "target": delivery.target}
    if delivery.target:
        return _("The delivery of %(type)s to %(receiver)s (%(target)s)") % named
    return _("The delivery of %(type)s to %(receiver)s") % named


def command(name: str, delivery: Delivery, *options: str) -> str:
    """Return the command that does something about one delivery, as it is typed."""
    chosen = ["--event", str(delivery.event_id), "--receiver", delivery.receiver]
    return " ".join(["manage.py", name, *chosen, *options])
