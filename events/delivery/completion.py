"""Deliver events to a receiver that the publishing process did not know, or that came later.

While a release is rolled out, processes of the former one go on publishing, without deliveries for
receivers that only the new one has, or that have only there come to listen to a type of event. For
a day after a worker first saw a receiver listen to a type, the sweep adds them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from events.delivery.clock import database_now
from events.models import Delivery, Event, ReceiverState
from events.receivers import Receiver, all_receivers

COMPLETED_FOR = timedelta(hours=24)  # after a receiver was first seen
REACH_BACK = timedelta(minutes=10)  # the new release may publish and serve before it is seen
SETTLED_AFTER = timedelta(minutes=2)  # positions are not commit-ordered: look again until then
LOOK_AGAIN_S = 300.0  # at rest too: a transaction may take longer than that, or a clock be wrong
CHUNK_SIZE = 500  # events in one look


class Completion:
    """What one sweeper remembers between its looks: how far each new receiver is complete."""

    def __init__(self) -> None:
        self._complete_to: dict[tuple[str, str], int] = {}  # positions, by receiver and type
        self._situation: object = None  # what is owed, and where the log ends
        self._same_since = self._looked_at = -inf  # of this process's clock

    def advance(self) -> int:
        """Add what receivers lack of types new to them, a chunk each at most. Return how many.

        Where nothing has come for a while, that is all that is asked, and every receiver seldom.
        """
        now, situation = monotonic(), (owed := list(_owed()), _end_of_log())
        if situation != self._situation:
            self._situation, self._same_since = situation, now
        if self._is_at_rest(now):
            return 0
        self._looked_at = now
        added = sum(self._complete(*what) for what in owed)
        if added:
            self._same_since = now
        return added

    def _is_at_rest(self, now: float) -> bool:
        is_settled = now - self._same_since > SETTLED_AFTER.total_seconds()
        return is_settled and now - self._looked_at < LOOK_AGAIN_S

    def _complete(self, receiver: Receiver, type_: str, owed_from: datetime) -> int:
        events, what = Event.objects.filter(type=type_), (receiver.name, type_)
        if what not in self._complete_to:
            self._complete_to[what] = _last_before(events, owed_from)
        unsettled = events.filter(position__gt=self._complete_to[what])
        added = add_missing_deliveries(receiver, unsettled, limit=CHUNK_SIZE)
        if added < CHUNK_SIZE:
            settled = _last_before(unsettled, Now() - SETTLED_AFTER)
            self._complete_to[what] = max(self._complete_to[what], settled)
        return added


def add_missing_deliveries(
    receiver: Receiver, events: QuerySet[Event], *, limit: int, target: str = ""
) -> int:
    """Insert a delivery, due now, for the first of these events that have none to the receiver.

    At most `limit` of them, by position, in one short transaction. Return how many; nobody's bell
    is rung. They are delivered out of their lanes' order: later events may have gone ahead. Two
    callers at once insert each delivery once, though both may count it.
    """
    columns = ("event_id", "type", "version", "key")
    missing = list(missing_to(receiver, events, target).only(*columns).order_by("position")[:limit])
    # A list: of an empty one Django makes no transaction, and SQLite has only one to give.
    Delivery.objects.bulk_create(
        [out_of_order(receiver, event, target) for event in missing], ignore_conflicts=True
    )
    return len(missing)


def _owed() -> Iterator[tuple[Receiver, str, datetime]]:
    """Yield receivers with the types that are new to them, and since when they are owed those."""
    states = ReceiverState.objects.in_bulk()
    new_since = database_now() - COMPLETED_FOR
    for receiver in all_receivers():
        for signal in receiver.signals if receiver.name in states else ():
            seen_at = states[receiver.name].type_seen_at(signal.type)
            if seen_at and seen_at > new_since:
                yield receiver, signal.type, _owed_from(seen_at, states[receiver.name])


def _end_of_log() -> int:
    """Return the position of the last event."""
    return Event.objects.order_by("-position").values_list("position", flat=True).first() or 0


def _owed_from(seen_at: datetime, state: ReceiverState) -> datetime:
    owed_from = seen_at - REACH_BACK
    # Before this, a finished delivery may have been deleted: its absence says nothing.
    return max(owed_from, state.pruned_before) if state.pruned_before else owed_from


def _last_before(events: QuerySet[Event], moment: Any) -> int:
    """Return the highest position of what occurred before a moment (a time or an expression)."""
    earlier = events.filter(occurred_at__lt=moment).order_by("-position")
    return earlier.values_list("position", flat=True).first() or 0


def missing_to(receiver: Receiver, events: QuerySet[Event], target: str = "") -> QuerySet[Event]:
    """Narrow to the events that the receiver was neither given nor has applied (and pruned)."""
    this = {"event_id": OuterRef("event_id"), "receiver": receiver.name, "target": target}
    missing = events.filter(~Exists(Delivery.objects.filter(**this)))
    if receiver.inbox is None:
        return missing
    return missing.filter(~Exists(receiver.inbox._default_manager.filter(**this)))


def out_of_order(receiver: Receiver, event: Event, target: str = "") -> Delivery:
    """Return an unsaved delivery, due now, that stands in no lane."""
    return Delivery(
        event_id=event.event_id,
        receiver=receiver.name,
        target=target,
        queue=receiver.queue,
        type=event.type,
        version=event.version,
        key=event.key,
        position=None,
    )
