"""Deliveries of a state, found by the partial index that holds them."""

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
