"""Which events a receiver was owed and never given."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from events.models import Delivery, Event, ReceiverState
from events.receivers import Receiver


def undelivered(receiver: Receiver, *, after: int = 0) -> QuerySet[Event]:
    """Return the events of the receiver's types that are owed to it and have no delivery.

    `after` a position only such are returned that came when workers knew the receiver: for what
    publishers knew earlier, all deliveries would have to be searched.
    """
    deliveries = Delivery.objects.filter(
        event_id=OuterRef("event_id"), receiver=receiver.name, target=""
    )
    state = ReceiverState.objects.filter(pk=receiver.name).first()
    owed = Q(pk__in=[])
    for signal in receiver.signals:
        known = _known_to_workers(signal.type, state)
        if not after:
            known |= _known_to_publishers(receiver, signal.type)
        owed |= Q(known, type=signal.type)
    if state and state.pruned_before:
        owed &= Q(occurred_at__gte=state.pruned_before)
    return Event.objects.filter(owed, position__gt=after).filter(~Exists(deliveries))


# Which events of a type came when the receiver was known to listen to it: publishers know it since
# the first delivery that they wrote themselves (it has a place in its lane), and workers since they
# noted it, whichever was earlier. Web processes may start long before the first worker.


def _known_to_publishers(receiver: Receiver, type_: str) -> Q:
    written = Delivery.objects.filter(receiver=receiver.name, type=type_, position__isnull=False)
    return Q(position__gte=written.order_by("pk").values("event__position")[:1])


def _known_to_workers(type_: str, state: ReceiverState | None) -> Q:
    seen_at = state.type_seen_at(type_) if state else None
    return Q(occurred_at__gte=seen_at) if seen_at else Q(pk__in=[])
