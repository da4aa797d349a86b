"""Claim due deliveries under a lease, receiver by receiver, lane heads first.

A lane is (receiver, target, key). Its deliveries run in the order of `position`; one without a
position (replayed, backfilled) neither waits nor holds others up.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from functools import lru_cache
from itertools import count
from threading import get_ident
from uuid import uuid4

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from events.delivery.claimable import (
    Readable,
    active_receivers,
    due_deliveries,
    readable_types,
    with_due_deliveries,
)
from events.delivery.floors import floor_of
from events.delivery.owner import current_owner
from events.delivery.settle import wake
from events.models import Delivery, DeliveryState, Event
from events.receivers import Guarantee, Receiver, get_receiver
from events.rows import among

LEASE_S = 30.0
PARK_LIMIT = 500  # rows met at once where all that were met are blocked

_turns = count()  # of this process


def claim(queue: str, limit: int) -> list[Delivery]:
    """Take up to `limit` due deliveries, counting the attempt, committed before anything runs.

    All are of one receiver, and those of a queue take turns. An empty list means that nothing is
    due. Those met that stand behind an earlier unfinished one of their lane become `waiting`.
    """
    for receiver in _in_turn(_due(queue, targeted=False)):
        if taken := _claim_all_met(_due_above_floor(receiver), limit):
            return taken
    return []


def claim_for_a_target(queue: str, limit: int, *, but: Collection[str]) -> list[Delivery]:
    """Take, as `claim` does, what is due to targeted receivers: for the target that waits longest.

    Targets in `but` are passed over.
    """
    for receiver in _in_turn(_due(queue, targeted=True)):
        due = _due_above_floor(receiver).exclude(target__in=but)
        first = due.values_list("target", flat=True).first()
        if first is not None and (taken := _claim_all_met(due.filter(target=first), limit)):
            return taken
    return []


def _due(queue: str, *, targeted: bool) -> list[Receiver]:
    return with_due_deliveries([r for r in active_receivers(queue) if r.targeted == targeted])


def _due_above_floor(receiver: Receiver) -> QuerySet[Delivery]:
    due = _due_in_order(receiver, readable_types(), get_ident())
    return due.filter(due_at__gte=floor_of(receiver.name))


@lru_cache(maxsize=256)
def _due_in_order(receiver: Receiver, readable: Readable, thread: int) -> QuerySet[Delivery]:
    """Return what is due to a receiver, the longest first, each with its predecessor.

    Every claim asks for some of it, and putting it together takes longer than the answer. So it is
    kept for as long as this process reads the same types, and never evaluated itself. Each thread
    has its own: those made from it share its subquery, which Django changes while it compiles.
    """
    return due_deliveries(receiver).annotate(blocked_by=predecessor()).order_by("due_at", "pk")


def _in_turn(receivers: list[Receiver]) -> list[Receiver]:
    """Begin with another receiver each time: a long backlog of one must not starve the next."""
    if not receivers:
        return []
    first = next(_turns) % len(receivers)
    return receivers[first:] + receivers[:first]


def _claim_all_met(due: QuerySet[Delivery], limit: int) -> list[Delivery]:
    """Claim some of what is due. Blocked ones hide nobody else: where all met are, look on."""
    met, taken = _claim_from(due, limit, limit)
    while met and not taken:
        met, taken = _claim_from(due, PARK_LIMIT, limit)
    return taken


def _claim_from(due: QuerySet[Delivery], look_at: int, limit: int) -> tuple[int, list[Delivery]]:
    """Look at some due deliveries, park the blocked, lease the others. Return how many were met."""
    with transaction.atomic():
        candidates = list(due.select_for_update(skip_locked=True, of=("self",))[:look_at])
        runnable = _in_lane_order(candidates)
        blocked = {delivery.pk for delivery in candidates} - runnable.keys()
        _park(blocked)
        taken = _lease(_with_events(_choose(candidates, runnable)[:limit]))
    _wake_unblocked_of(blocked)
    return len(candidates), taken


def earlier_in_lane() -> QuerySet[Delivery]:
    """Return, for a subquery, the unfinished deliveries before the outer one in its lane."""
    return Delivery.objects.filter(
        receiver=OuterRef("receiver"),
        target=OuterRef("target"),
        key=OuterRef("key"),
        position__lt=OuterRef("position"),
        finished_at__isnull=True,
    )


def predecessor() -> Subquery:
    """Return the id of the unfinished delivery just before this one in its lane, if any."""
    return Subquery(earlier_in_lane().order_by("-position").values("pk")[:1])


def _in_lane_order(deliveries: Iterable[Delivery]) -> dict[int, Delivery]:
    """Return, by position, the heads of lanes and whatever follows them without a gap."""
    runnable: dict[int, Delivery] = {}
    for delivery in sorted(deliveries, key=lambda delivery: delivery.position or 0):
        if _blocked_by(delivery) is None or _blocked_by(delivery) in runnable:
            runnable[delivery.pk] = delivery
    return runnable


def _choose(candidates: list[Delivery], runnable: dict[int, Delivery]) -> list[Delivery]:
    """Return what to run together: the longest due if it must run alone, else all that need not."""
    heads = [d for d in candidates if d.pk in runnable and _blocked_by(d) is None]
    if heads and _must_run_alone(heads[0]):
        return heads[:1]
    # A lane ends, for this claim, before the first of it that must run alone.
    together = [d for d in runnable.values() if not _must_run_alone(d)]
    return list(_in_lane_order(together).values())


def _must_run_alone(delivery: Delivery) -> bool:
    """Tell whether a delivery shares no claim: the death of its worker must say something of it."""
    return delivery.run_alone or (
        get_receiver(delivery.receiver).guarantee is Guarantee.AT_MOST_ONCE
    )


def _blocked_by(delivery: Delivery) -> int | None:
    blocked_by: int | None = delivery.blocked_by  # type: ignore[attr-defined]
    return blocked_by


def _park(blocked: set[int]) -> None:
    if blocked:
        Delivery.objects.filter(pk__in=blocked).update(state=DeliveryState.WAITING, due_at=None)


def _wake_unblocked_of(parked: set[int]) -> None:
    """Wake those whose predecessor ended while they were parked: it did not see them wait."""
    if parked:
        free = Delivery.objects.filter(~Exists(earlier_in_lane()), pk__in=parked)
        wake(free.filter(state=DeliveryState.WAITING))


def _with_events(deliveries: list[Delivery]) -> list[Delivery]:
    """Read the events, which never change: the effect block, with its locks, need not."""
    wanted = {delivery.event_id for delivery in deliveries}
    events = {event.event_id: event for event in Event.objects.filter(among("event_id", wanted))}
    for delivery in deliveries:
        delivery.event = events[delivery.event_id]
    return deliveries


def _lease(deliveries: list[Delivery]) -> list[Delivery]:
    if not deliveries:
        return []
    token = uuid4()
    alone = len(deliveries) == 1
    Delivery.objects.filter(among("pk", [delivery.pk for delivery in deliveries])).update(
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
