"""Which events a receiver was owed and never given."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from events.models import Delivery, Event, ReceiverState
from events.receivers import Receiver


def undelivered(receiver: Receiver) -> QuerySet[Event]:
    """Return the events of the receiver's types that are owed to it and have no delivery."""
    deliveries = Delivery.objects.filter(
        event_id=OuterRef("event_id"), receiver=receiver.name, target=""
    )
    types = [signal.type for signal in receiver.signals]
    owed = Event.objects.filter(_owed_since(receiver), type__in=types)
    return owed.filter(~Exists(deliveries))


def _owed_since(receiver: Receiver) -> Q:
    """Return which events are owed: since the receiver was seen, but for what may be pruned."""
    state = ReceiverState.objects.filter(pk=receiver.name).first()
    if state is None:
        # No worker has noted it so far: since its first delivery, publishers know it.
        first = Delivery.objects.filter(receiver=receiver.name).order_by("pk")
        return Q(position__gte=first.values("event__position")[:1])
    since = max(t for t in (state.first_seen_at, state.pruned_before) if t)
    return Q(occurred_at__gte=since)
