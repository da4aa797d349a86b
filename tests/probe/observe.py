"""Look at what the probe's receivers did."""

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from events.delivery.claim import claim
from events.models import Delivery
from tests.probe.models import Effect


def effects(receiver: str) -> list[int]:
    """Return the numbers a receiver recorded, in order."""
    return list(
        Effect.objects.filter(receiver=receiver).order_by("pk").values_list("number", flat=True)
    )


def delivery(receiver: str, **filters: Any) -> Delivery:
    """Return the one delivery to a probe receiver."""
    return Delivery.objects.get(receiver=f"probe.{receiver}", **filters)


def make_due() -> None:
    """Let the time pass until every retry is due."""
    Delivery.objects.filter(due_at__isnull=False).update(due_at=Now())


def let_leases_expire() -> None:
    """Let the lease of every running delivery end."""
    Delivery.objects.filter(lease_expires_at__isnull=False).update(
        lease_expires_at=Now() - timedelta(seconds=1)
    )


def claim_all(queue: str) -> list[Delivery]:
    """Claim whatever is due in a queue, receiver by receiver."""
    claimed: list[Delivery] = []
    while some := claim(queue, 100):
        claimed += some
    return claimed
