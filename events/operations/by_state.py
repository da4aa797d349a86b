"""Deliveries by their state, found by the partial indexes that hold them."""

from django.db.models import Q, QuerySet

from events.models import Delivery, DeliveryState

# What a state implies: the condition of the index.
_IMPLIED: dict[str, Q] = {
    DeliveryState.PENDING: Q(due_at__isnull=False),
    DeliveryState.RUNNING: Q(lease_expires_at__isnull=False),
    DeliveryState.DONE: Q(finished_at__isnull=False),
}


def in_state(deliveries: QuerySet[Delivery], state: str) -> QuerySet[Delivery]:
    """Return those in a state: a few among millions are not searched for."""
    return deliveries.filter(_IMPLIED.get(state, Q()), state=state)


def in_any_state(deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Return the same, by the indexes of open and of finished ones: each has one."""
    return deliveries.filter(Q(finished_at__isnull=True) | Q(finished_at__isnull=False))
