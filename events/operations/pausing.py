"""Pause a receiver: nothing of its is claimed until it is resumed. What runs already finishes."""

from functools import partial

from django.db import transaction
from django.db.models.functions import Now

from events import queue as doorbell
from events.models import ReceiverState
from events.operations.known import is_receiver
from events.operations.signature import signed
from events.receivers import all_receivers


class UnknownReceiver(LookupError):
    """No release of this database's had such a receiver."""

    def __init__(self, name: str) -> None:
        names = ", ".join(receiver.name for receiver in all_receivers())
        super().__init__(f"There is no receiver {name!r}. There are: {names}.")


def pause(name: str, *, by: str, reason: str) -> bool:
    """Pause a receiver. Return whether it was running until now: the first to pause it is noted.

    Raises UnknownReceiver, and Unsigned without a name of the operator's or a reason.
    """
    by, reason = signed(by=by, reason=reason)
    _refuse_unknown(name)
    with transaction.atomic():
        ReceiverState.objects.bulk_create([ReceiverState(name=name)], ignore_conflicts=True)
        running = ReceiverState.objects.filter(name=name, paused_at__isnull=True)
        return bool(running.update(paused_at=Now(), paused_by=by, pause_reason=reason))


def resume(name: str) -> bool:
    """Let a paused receiver run again. Return whether it was paused. Raises UnknownReceiver."""
    _refuse_unknown(name)
    with transaction.atomic():
        paused = ReceiverState.objects.filter(name=name, paused_at__isnull=False)
        resumed = bool(paused.update(paused_at=None, paused_by="", pause_reason=""))
        for queue in {receiver.queue for receiver in all_receivers() if receiver.name == name}:
            transaction.on_commit(partial(doorbell.ring, queue), robust=True)
    return resumed


def _refuse_unknown(name: str) -> None:
    if not is_receiver(name):
        raise UnknownReceiver(name)
