"""Which deliveries this release may run: one predicate for claim, sweep and age alike.

It is asked receiver by receiver: what waits for a paused receiver, however much, costs the others
nothing, because no index that a claim reads has it in its way.
"""

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from events.models import Delivery, ReceiverState
from events.receivers import Receiver, all_receivers
from events.signals import all_signals


def active_receivers(queue: str) -> list[Receiver]:
    """Return the queue's receivers that are not paused."""
    paused = ReceiverState.objects.filter(paused_at__isnull=False)
    names = set(paused.values_list("name", flat=True))
    return [r for r in all_receivers() if r.queue == queue and r.name not in names]


def claimable_deliveries(receiver: Receiver) -> QuerySet[Delivery]:
    """Return the deliveries that may be claimed for an active receiver once they are due.

    Types and versions that this release cannot read are simply not among them: they ring no bell,
    age in no alarm and wait for the code that can.
    """
    return Delivery.objects.filter(known_types(), receiver=receiver.name, due_at__isnull=False)


def due_deliveries(receiver: Receiver) -> QuerySet[Delivery]:
    """Return the deliveries that may be claimed for an active receiver now."""
    return claimable_deliveries(receiver).filter(due_at__lte=Now())


def has_due_deliveries(queue: str, *, to_targets: bool = True) -> bool:
    """Tell whether the queue has work now, that of targeted receivers included or not."""
    return any(
        due_deliveries(receiver).exists()
        for receiver in active_receivers(queue)
        if to_targets or not receiver.targeted
    )


def stranded_receivers() -> list[str]:
    """Return the receivers that have open deliveries but that this release does not know."""
    known = [receiver.name for receiver in all_receivers()]
    stranded = Delivery.objects.filter(finished_at__isnull=True).exclude(receiver__in=known)
    return list(stranded.order_by().values_list("receiver", flat=True).distinct())


def known_types() -> Q:
    """Return the condition that this release can read a delivery's event."""
    types: dict[tuple[int, int], list[str]] = {}  # few conditions: every claim compiles them
    for signal in all_signals():
        versions = signal.readable_versions
        types.setdefault((versions.start, versions.stop - 1), []).append(signal.type)
    known = Q(pk__in=[])
    for first_to_last, names in types.items():
        known |= Q(type__in=names, version__range=first_to_last)
    return known
