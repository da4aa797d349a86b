"""Which events a receiver was owed and never given."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from events.models import Delivery, Event, ReceiverState
from events.receivers import Receiver


def undelivered(receiver: Receiver) -> QuerySet[Event]:
    """Return the events of the receiver's types that are owed to it and have no delivery."""
    deliveries = Delivery.objects.filter(
        event_id=OuterRef("event_id"), receiver=receiver.name, target=""
    )
    state = ReceiverState.objects.filter(pk=receiver.name).first()
    owed = Q(pk__in=[])
    for signal in receiver.signals:
        owed |= Q(_known_since(receiver, signal.type, state), type=signal.type)
    if state and state.pruned_before:
        owed &= Q(occurred_at__gte=state.pruned_before)
    return Event.objects.filter(owed).filter(~Exists(deliveries))


def _known_since(receiver: Receiver, type_: str, state: ReceiverState | None) -> Q:
    """Return which events of a type came when the receiver was known to listen to it.

    Publishers know it since the first delivery that they wrote themselves (it has a place in its
    lane), and workers since they noted it, whichever was earlier: web processes may start long
    before the first worker.
    """
    written = Delivery.objects.filter(receiver=receiver.name, type=type_, position__isnull=False)
    known = Q(position__gte=written.order_by("pk").values("event__position")[:1])
    seen_at = state.type_seen_at(type_) if state else None
    return known | Q(occurred_at__gte=seen_at) if seen_at else known
