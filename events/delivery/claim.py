"""Claim due deliveries under a lease, lane heads first.

A lane is (receiver, target, key). Its deliveries run in the order of `position`; one without a
position (replayed, backfilled) neither waits nor holds others up.
"""

from datetime import timedelta
from uuid import uuid4

from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from events.delivery.claimable import due_deliveries
from events.delivery.owner import current_owner
from events.models import Delivery, DeliveryState

LEASE_S = 30.0


def claim(queue: str, limit: int) -> list[Delivery]:
    """Take up to `limit` due deliveries, counting the attempt, committed before anything runs.

    Those met that stand behind an earlier unfinished one of their lane become `waiting`.
    A delivery whose last worker ended without a verdict is claimed alone.
    """
    with transaction.atomic():
        candidates = _lock_candidates(queue, limit)
        runnable = _in_lane_order(candidates)
        _park({delivery.pk for delivery in candidates} - {delivery.pk for delivery in runnable})
        alone = [delivery for delivery in runnable if delivery.run_alone]
        return _lease(alone[:1] or runnable)


def predecessor() -> Subquery:
    """Return the id of the unfinished delivery just before this one in its lane, if any."""
    earlier: QuerySet[Delivery] = Delivery.objects.filter(
        receiver=OuterRef("receiver"),
        target=OuterRef("target"),
        key=OuterRef("key"),
        position__lt=OuterRef("position"),
        finished_at__isnull=True,
    )
    return Subquery(earlier.order_by("-position").values("pk")[:1])


def _lock_candidates(queue: str, limit: int) -> list[Delivery]:
    due = due_deliveries(queue).annotate(blocked_by=predecessor()).order_by("due_at", "pk")
    return list(due.select_for_update(skip_locked=True, of=("self",))[:limit])


def _in_lane_order(candidates: list[Delivery]) -> list[Delivery]:
    """Return, by position, the heads of lanes and whatever follows them without a gap."""
    runnable: dict[int, Delivery] = {}
    for delivery in sorted(candidates, key=lambda delivery: delivery.position or 0):
        blocked_by: int | None = delivery.blocked_by  # type: ignore[attr-defined]
        if blocked_by is None or blocked_by in runnable:
            runnable[delivery.pk] = delivery
    return list(runnable.values())


def _park(blocked: set[int]) -> None:
    if blocked:
        Delivery.objects.filter(pk__in=blocked).update(state=DeliveryState.WAITING, due_at=None)


def _lease(deliveries: list[Delivery]) -> list[Delivery]:
    if not deliveries:
        return []
    token = uuid4()
    alone = len(deliveries) == 1
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries]).update(
        state=DeliveryState.RUNNING,
        due_at=None,
        attempts=F("attempts") + 1,
        run_alone=alone,
        lease_token=token,
        lease_owner=current_owner(),
        lease_expires_at=Now() + timedelta(seconds=LEASE_S),
    )
    for delivery in deliveries:
        delivery.state = DeliveryState.RUNNING
        delivery.attempts += 1
        delivery.run_alone = alone
        delivery.lease_token = token
    return deliveries
