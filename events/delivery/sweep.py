"""The safety net under the doorbell: every second, see to whatever no bell was rung for."""

from django.db.models import Exists, OuterRef

from events import queue as doorbell
from events.delivery import leases, settle
from events.delivery.claimable import has_due_deliveries
from events.models import Delivery, DeliveryState, ReceiverState
from events.receivers import all_queues, all_receivers


def sweep() -> None:
    """Release lost leases, wake what waits for nothing, ring queues that have work."""
    leases.release_dead_local()
    leases.release_expired()
    wake_unblocked()
    ring_due_queues()


def ring_due_queues() -> None:
    """Ring every queue that has claimable work (a bell that already waits is enough)."""
    for queue in all_queues():
        if has_due_deliveries(queue):
            doorbell.ring(queue)


def wake_unblocked() -> int:
    """Wake waiting deliveries with no earlier unfinished one in their lane. Return how many.

    A claim may park a delivery at the very moment its predecessor finishes; nobody else would
    wake it.
    """
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING)
    if not waiting.exists():
        return 0
    earlier = Delivery.objects.filter(
        receiver=OuterRef("receiver"),
        target=OuterRef("target"),
        key=OuterRef("key"),
        position__lt=OuterRef("position"),
        finished_at__isnull=True,
    )
    return settle.wake(waiting.filter(~Exists(earlier)))


def record_receivers() -> None:
    """Note when each receiver was first seen; what was published before is not owed to it."""
    ReceiverState.objects.bulk_create(
        (ReceiverState(name=receiver.name) for receiver in all_receivers()),
        ignore_conflicts=True,
    )
