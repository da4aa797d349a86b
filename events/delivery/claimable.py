"""Which deliveries this release may run: one predicate for claim, sweep and age alike."""

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from events.models import Delivery, ReceiverState
from events.receivers import all_receivers
from events.signals import all_signals


def due_deliveries(queue: str) -> QuerySet[Delivery]:
    """Return the queue's deliveries that may be claimed now."""
    return claimable_deliveries(queue).filter(due_at__lte=Now())


def claimable_deliveries(queue: str) -> QuerySet[Delivery]:
    """Return the queue's deliveries that may be claimed once they are due.

    What this release does not know (a receiver, a type, a version) or what is paused is simply not
    among them: it rings no bell, ages in no alarm and waits for the code that knows it.
    """
    return Delivery.objects.filter(
        known_types(),
        queue=queue,
        due_at__isnull=False,
        receiver__in=[receiver.name for receiver in all_receivers() if receiver.queue == queue],
    ).exclude(receiver__in=ReceiverState.objects.filter(paused_at__isnull=False).values("name"))


def has_due_deliveries(queue: str) -> bool:
    """Tell whether the queue has work now."""
    return due_deliveries(queue).exists()


def stranded_receivers() -> list[str]:
    """Return the receivers that have open deliveries but that this release does not know."""
    known = [receiver.name for receiver in all_receivers()]
    stranded = Delivery.objects.filter(finished_at__isnull=True).exclude(receiver__in=known)
    return list(stranded.order_by().values_list("receiver", flat=True).distinct())


def known_types() -> Q:
    """Return the condition that this release can read a delivery's event."""
    known = Q(pk__in=[])
    for signal in all_signals():
        versions = signal.readable_versions
        known |= Q(type=signal.type, version__range=(versions.start, versions.stop - 1))
    return known
