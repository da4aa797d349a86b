"""Deliver events to a receiver that the publishing process did not know, or that came later."""

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from events.models import Delivery, Event
from events.receivers import Receiver


def add_missing_deliveries(receiver: Receiver, events: QuerySet[Event], *, limit: int) -> int:
    """Insert a delivery, due now, for the first of these events that have none to the receiver.

    At most `limit` of them, by position, in one short transaction. Return how many; nobody's bell
    is rung. They are delivered out of their lanes' order: later events may have gone ahead. Two
    callers at once insert each delivery once, though both may count it.
    """
    with transaction.atomic():
        missing = list(_missing(receiver, events).order_by("position")[:limit])
        Delivery.objects.bulk_create(
            (_out_of_order(receiver, event) for event in missing), ignore_conflicts=True
        )
    return len(missing)


def _missing(receiver: Receiver, events: QuerySet[Event]) -> QuerySet[Event]:
    """Narrow to the events that the receiver was neither given nor has applied (and pruned)."""
    this = {"event_id": OuterRef("event_id"), "receiver": receiver.name, "target": ""}
    missing = events.filter(~Exists(Delivery.objects.filter(**this)))
    if receiver.inbox is None:
        return missing
    return missing.filter(~Exists(receiver.inbox._default_manager.filter(**this)))


def _out_of_order(receiver: Receiver, event: Event) -> Delivery:
    return Delivery(
        event_id=event.event_id,
        receiver=receiver.name,
        queue=receiver.queue,
        type=event.type,
        version=event.version,
        key=event.key,
        position=None,
    )
