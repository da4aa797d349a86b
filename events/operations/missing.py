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
    """Return which events are owed: since the receiver was known, but for what may be pruned.

    Publishers know it since the first delivery that they wrote themselves (it has a place in its
    lane), and workers since they noted it, whichever was earlier: web processes may start long
    before the first worker.
    """
    written = Delivery.objects.filter(receiver=receiver.name, position__isnull=False).order_by("pk")
    known = Q(position__gte=written.values("event__position")[:1])
    state = ReceiverState.objects.filter(pk=receiver.name).first()
    if state is None:
        return known
    known |= Q(occurred_at__gte=state.first_seen_at)
    return known & Q(occurred_at__gte=state.pruned_before) if state.pruned_before else known
