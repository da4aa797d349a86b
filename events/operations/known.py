"""Which names an operator may use. A typo must not look like "nothing to do"."""

from events.models import Delivery, Event, ReceiverState
from events.receivers import all_receivers
from events.signals import all_signals


def is_receiver(name: str) -> bool:
    """Tell whether this release has the receiver, or an earlier one had it."""
    return (
        any(receiver.name == name for receiver in all_receivers())
        or ReceiverState.objects.filter(name=name).exists()
        or Delivery.objects.filter(receiver=name, finished_at__isnull=True).exists()
    )


def is_type(type_: str) -> bool:
    """Tell whether this release declares the event type, or one such event was recorded."""
    known = any(signal.type == type_ for signal in all_signals())
    return known or Event.objects.filter(type=type_).exists()
