"""Delete finished deliveries and failed attempts beyond their age, and what else is over.

Never unfinished work with its attempts, never events, never processed ids: an inbox must remember
what it has applied for ever, or a replay would apply it again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Q, QuerySet

from events.interventions import InterventionItem
from events.models import Attempt, Delivery, ReceiverState
from events.operations.chunks import CHUNK_SIZE, Progress, in_short_transaction, silent
from events.receivers import all_receivers
from events.rows import among

# Nobody waits for these but who wants the same rows; and each chunk passes over the dead entries
# that those before it have left in the index.
POSTGRES_CHUNK_SIZE = 2000
PAUSE_FOR_EACH_S = 0.5  # seconds, for each that a transaction took


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows were deleted."""

    deliveries: int
    attempts: int
    others: dict[str, int] = field(default_factory=dict)  # by what was declared


Over = Callable[[datetime], QuerySet[Any]]  # what was over before a time
_others: dict[str, Over] = {}


def prunes(name: str, over: Over) -> None:
    """Declare rows that go when they have been over for long enough. Declare them in `ready()`."""
    _others[name] = over


def _items_of_ended(before: datetime) -> QuerySet[InterventionItem]:
    """Return the frozen sets of what ended before a time. Who did what, and why, stays."""
    return InterventionItem.objects.filter(intervention__ended_at__lt=before)


prunes("intervention_items", _items_of_ended)


def prune(cutoff: datetime, *, progress: Progress = silent) -> Pruned:
    """Delete what finished before `cutoff`, and attempts from before it of what is finished.

    First every receiver's `pruned_before` is moved up to `cutoff`, so that nobody takes a delivery
    that is gone for one that never was. In chunks that commit: stopped half-way, another call does
    the rest. `progress` hears how many rows of a chunk went.
    """
    names = in_short_transaction(partial(_mark, cutoff))
    deliveries = attempts = 0
    for name in names:
        while gone := _leaving_turns(partial(_delete_deliveries, name, cutoff)):
            deliveries += gone.deliveries
            attempts += gone.attempts
            progress(gone.deliveries + gone.attempts)
    attempts += _prune_attempts(cutoff, progress)
    others = {name: _prune_others(over(cutoff), progress) for name, over in _others.items()}
    return Pruned(deliveries=deliveries, attempts=attempts, others=others)


def _leaving_turns(delete: Callable[[], Pruned | None]) -> Pruned | None:
    """Delete in a transaction, and pause for about as long: drains want disk and processors too."""
    began = time.monotonic()
    gone = in_short_transaction(delete)
    if connection.vendor == "postgresql":
        time.sleep(PAUSE_FOR_EACH_S * (time.monotonic() - began))
    return gone


def _at_once() -> int:
    """Return how many rows one transaction deletes."""
    return CHUNK_SIZE if connection.vendor == "sqlite" else POSTGRES_CHUNK_SIZE


def planned_prune(cutoff: datetime) -> Pruned:
    """Return how many rows `prune` would delete."""
    deliveries = _prunable(cutoff)
    attempts = Attempt.objects.filter(
        Q(delivery__in=deliveries) | Q(ended_at__lt=cutoff, delivery__finished_at__isnull=False)
    )
    others = {name: over(cutoff).count() for name, over in _others.items()}
    return Pruned(deliveries=deliveries.count(), attempts=attempts.count(), others=others)


def _mark(cutoff: datetime) -> list[str]:
    """Note, for every receiver, that finished deliveries may be gone. Return their names."""
    ReceiverState.objects.bulk_create(
        (ReceiverState(name=receiver.name) for receiver in all_receivers()), ignore_conflicts=True
    )
    earlier = Q(pruned_before__isnull=True) | Q(pruned_before__lt=cutoff)
    ReceiverState.objects.filter(earlier).update(pruned_before=cutoff)
    return list(ReceiverState.objects.order_by("name").values_list("name", flat=True))


def _prunable(cutoff: datetime) -> QuerySet[Delivery]:
    # The events' own time too: `pruned_before` speaks of it, and clocks may differ.
    return Delivery.objects.filter(finished_at__lt=cutoff, event__occurred_at__lt=cutoff)


def _delete_deliveries(receiver: str, cutoff: datetime) -> Pruned | None:
    """Delete a receiver's oldest finished deliveries, with their attempts. None: none is left."""
    oldest = _prunable(cutoff).filter(receiver=receiver).order_by("finished_at").only("pk")
    # Locked first: what an operator replays at this moment is not finished any more.
    locked = [delivery.pk for delivery in oldest.select_for_update(of=("self",))[: _at_once()]]
    if not locked:
        return None
    # Not `delete`, which reads every row first, to look for what hangs on it: attempts alone do.
    failed = Attempt.objects.filter(among("delivery_id", locked))
    attempts = failed._raw_delete(DEFAULT_DB_ALIAS)
    deliveries = Delivery.objects.filter(among("pk", locked))._raw_delete(DEFAULT_DB_ALIAS)
    return Pruned(deliveries=deliveries, attempts=attempts)


def _prune_attempts(cutoff: datetime, progress: Progress) -> int:
    """Delete the old attempts of what finished since; those of unfinished work are passed over."""
    total = 0
    old = Attempt.objects.filter(ended_at__lt=cutoff).order_by("ended_at", "pk")
    rows = list(old.values_list("ended_at", "pk")[: _at_once()])
    while rows:
        gone = in_short_transaction(partial(_delete_attempts, [pk for _, pk in rows]))
        total += gone
        progress(gone)
        ended_at, pk = rows[-1]
        rest = old.filter(Q(ended_at__gt=ended_at) | Q(ended_at=ended_at, pk__gt=pk))
        rows = list(rest.filter(ended_at__gte=ended_at).values_list("ended_at", "pk")[: _at_once()])
    return total


def _delete_attempts(ids: list[int]) -> int:
    finished = Attempt.objects.filter(pk__in=ids, delivery__finished_at__isnull=False)
    return finished.delete()[0]


def _prune_others(rows: QuerySet[Any], progress: Progress) -> int:
    total = 0
    while gone := in_short_transaction(partial(_delete_some, rows)):
        total += gone
        progress(gone)
    return total


def _delete_some(rows: QuerySet[Any]) -> int:
    some = list(rows.values_list("pk", flat=True)[: _at_once()])
    return rows.filter(pk__in=some).delete()[0] if some else 0
