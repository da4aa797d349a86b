"""Deliver history to a receiver: what happened before it was there, or before it was right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import QuerySet

from events import queue as doorbell
from events.delivery.completion import add_missing_deliveries, missing_to
from events.models import Event, ReceiverState
from events.operations.chunks import Progress, in_short_transaction, silent
from events.receivers import Guarantee, Receiver

CHUNK_SIZE = 100  # rows in one transaction: an insert takes longer than what other chunks do


class HistoryPruned(ValueError):
    """Whether the receiver was given some of these events is no longer known."""

    def __init__(self, receiver: Receiver, pruned_before: datetime) -> None:
        moment = pruned_before.isoformat().replace("+00:00", "Z")
        super().__init__(
            f"{receiver.name} is {receiver.guarantee} and keeps no inbox, and finished deliveries "
            f"of events from before {moment} may have been pruned: nobody could tell which of "
            f"those it was given. Begin at --since {moment} or later."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfilled:
    """What became of the events of a span of time."""

    delivered: int  # deliveries added
    had_one: int  # events that the receiver was given before, or has applied


def backfill(
    receiver: Receiver,
    *,
    since: datetime,
    until: datetime | None = None,
    progress: Progress = silent,
) -> Backfilled:
    """Give a receiver the events of its types from `since` (before `until`) that it was not given.

    They are due at once and out of their lanes' order. Ascending, in chunks that commit: stopped
    half-way, another call does the rest. What is published after the call begins is left to its
    publisher. Raises HistoryPruned where the receiver has no inbox and may have been given events
    that nothing remembers.
    """
    _refuse_pruned(receiver, since)
    history = _history(receiver, since, until)
    delivered = seen = 0
    for window in _windows(history):
        chunk = history.filter(position__gte=window[0], position__lte=window[-1])
        delivered += in_short_transaction(partial(_deliver, receiver, since, chunk))
        seen += len(window)
        progress(len(window))
    return Backfilled(delivered=delivered, had_one=seen - delivered)


def planned_backfill(
    receiver: Receiver, *, since: datetime, until: datetime | None = None
) -> Backfilled:
    """Return what a backfill would come to. Raises HistoryPruned as it would."""
    _refuse_pruned(receiver, since)
    history = _history(receiver, since, until)
    missing = missing_to(receiver, history).count()
    return Backfilled(delivered=missing, had_one=history.count() - missing)


def _history(receiver: Receiver, since: datetime, until: datetime | None) -> QuerySet[Event]:
    types = [signal.type for signal in receiver.signals]
    events = Event.objects.filter(type__in=types, occurred_at__gte=since)
    return events.filter(occurred_at__lt=until) if until else events


def _windows(history: QuerySet[Event]) -> Iterator[Sequence[int]]:
    """Yield the positions there are at the beginning, ascending, some at a time."""
    positions = history.order_by("position").values_list("position", flat=True)
    last = positions.last() or 0
    reached = 0
    while window := list(positions.filter(position__gt=reached, position__lte=last)[:CHUNK_SIZE]):
        yield window
        reached = window[-1]


def _deliver(receiver: Receiver, since: datetime, events: QuerySet[Event]) -> int:
    # Asked again, of a locked row: whoever prunes meanwhile must say so there before they begin.
    _refuse_pruned(receiver, since)
    added = add_missing_deliveries(receiver, events, limit=CHUNK_SIZE)
    if added:
        transaction.on_commit(partial(doorbell.ring, receiver.queue), robust=True)
    return added


def _refuse_pruned(receiver: Receiver, since: datetime) -> None:
    if receiver.guarantee is Guarantee.EXACTLY_ONCE:
        return  # its inbox remembers for ever
    with transaction.atomic():
        states = ReceiverState.objects.select_for_update().filter(name=receiver.name)
        pruned_before = states.values_list("pruned_before", flat=True).first()
    if pruned_before and since < pruned_before:
        raise HistoryPruned(receiver, pruned_before)
