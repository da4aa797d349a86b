"""Compare what happened with what came of it: effects that are missing, doubled or torn apart.

Each receiver's audit is asked about the events that the receiver is done with; what is still on its
way is let be, and what is dead or has no delivery is told as that. A repair delivers once more.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from events import queue as doorbell
from events.delivery.claimable import known_types
from events.delivery.clock import database_now
from events.delivery.completion import add_missing_deliveries, missing_to
from events.models import Delivery, DeliveryState, Event, ReceiverState
from events.operations.audits import Audit, Flaw, FlawKind, all_figures, audit_of
from events.operations.chunks import Progress, in_short_transaction, silent
from events.operations.invariants import Breach, Circumstances, breaches_in
from events.operations.missing import undelivered
from events.operations.overdue import overdue
from events.operations.repair import redeliver, repairable
from events.receivers import Receiver, all_receivers
from events.signals import get_signal

CHUNK_SIZE = 500  # events that an audit is asked about at once
GRACE = timedelta(minutes=10)
PATIENCE = timedelta(minutes=1)  # what is due for less is on its way, however short the grace


class Kind(StrEnum):
    """What can be found."""

    MISSING = "missing"  # these three are an audit's: see FlawKind
    DOUBLED = "doubled"
    TORN = "torn"
    UNDELIVERED = "undelivered"  # owed to the receiver, and never given
    OVERDUE = "overdue"  # due, and nobody comes for it
    DEAD = "dead"  # out of attempts
    FIGURES = "figures"  # a sum is not that of its rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be: of one event, or of several at once."""

    audit: str  # the receiver's name, or that of the figures
    kind: Kind
    what: str  # in a sentence
    do: str  # what a repair does; where it does nothing, what a person can do
    event_id: UUID | None = None
    key: str = ""  # of the event: whom it is about
    ids: tuple[str, ...] = ()  # examples, where there are several
    total: int = 1
    is_repairable: bool = False
    is_repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to look at."""

    receiver: Receiver | None = None  # all, and without `since` the figures too
    since: datetime | None = None  # events from this time
    after: int = 0  # events beyond this position
    until: int | None = None  # events up to this position
    grace: timedelta = GRACE  # younger events are let be

    def receivers(self) -> tuple[Receiver, ...]:
        """Return the receivers to look at."""
        return (self.receiver,) if self.receiver else all_receivers()

    @property
    def is_everything(self) -> bool:
        """Whether figures are looked at too: they are sums over all that ever was."""
        return self.receiver is None and self.since is None


def findings(
    scope: Scope, *, repair: bool = False, progress: Progress = silent
) -> Iterator[Finding]:
    """Yield what is found, and deliver once more what that mends if `repair` is set.

    Goes through the events in chunks, each repaired before the next is read: stopped half-way,
    another call does the rest. `progress` hears the size of every chunk.
    """
    for receiver in scope.receivers():
        yield from standing(receiver, scope)
        yield from differing(receiver, scope, repair=repair, progress=progress)
    if scope.is_everything:
        for name, check in all_figures():
            yield from (_of_breach(name, Kind.FIGURES, b) for b in check(Circumstances()))


def in_flight(scope: Scope) -> int:
    """Return how many deliveries are on their way: not finished, and not dead."""
    open_ = Delivery.objects.filter(finished_at__isnull=True).exclude(state=DeliveryState.DEAD)
    return open_.filter(receiver__in=[receiver.name for receiver in scope.receivers()]).count()


def differing(
    receiver: Receiver, scope: Scope, *, repair: bool = False, progress: Progress = silent
) -> Iterator[Finding]:
    """Yield of one receiver what was never delivered, and what of the rest has not its effect."""
    before = database_now() - scope.grace
    yield from _undelivered(receiver, scope, before, repair)
    if audit := audit_of(receiver.name):
        yield from _audited(receiver, audit, scope, before, repair, progress)


def standing(receiver: Receiver, scope: Scope) -> Iterator[Finding]:
    """Yield what stands still: dead deliveries, and those nobody comes for."""
    # That they are not finished follows from what is asked below. It leads to an index.
    theirs = Delivery.objects.filter(receiver=receiver.name, finished_at__isnull=True)
    if scope.since:
        theirs = theirs.filter(event__occurred_at__gte=scope.since)
    dead = breaches_in(
        theirs.filter(state=DeliveryState.DEAD),
        what="deliveries are dead: out of attempts",
        hint=f"Mend the cause, then `manage.py replay --receiver {receiver.name}`.",
        id_field="event_id",
    )
    yield from (_of_breach(receiver.name, Kind.DEAD, breach) for breach in dead)
    late = breaches_in(
        theirs.filter(_abandoned(receiver, max(scope.grace, PATIENCE))),
        what="deliveries are past their time, and nobody comes for them",
        hint=f"Is a worker running? `manage.py worker {receiver.queue}` starts one.",
        id_field="event_id",
    )
    yield from (_of_breach(receiver.name, Kind.OVERDUE, breach) for breach in late)


def _abandoned(receiver: Receiver, patience: timedelta) -> Q:
    lease_ended = Q(lease_expires_at__lt=Now() - patience)
    if ReceiverState.objects.filter(pk=receiver.name, paused_at__isnull=False).exists():
        return lease_ended  # what waits for a paused receiver waits on purpose
    return lease_ended | Q(pk__in=overdue(receiver, by=patience).values("pk"))


def _undelivered(
    receiver: Receiver, scope: Scope, before: datetime, repair: bool
) -> Iterator[Finding]:
    # What was applied, and lost its delivery only, is not owed again.
    owed = _in_span(missing_to(receiver, undelivered(receiver, after=scope.after)), scope, before)
    for chunk in _chunks(owed):
        if repair:
            in_short_transaction(partial(_deliver, receiver, chunk))
        for event in chunk:
            yield Finding(
                audit=receiver.name,
                kind=Kind.UNDELIVERED,
                what=f"{event.type} was never delivered to it.",
                do="deliver it",
                event_id=event.event_id,
                key=event.key,
                is_repairable=True,
                is_repaired=repair,
            )


def _deliver(receiver: Receiver, events: Sequence[Event]) -> None:
    chosen = Event.objects.filter(pk__in=[event.pk for event in events])
    add_missing_deliveries(receiver, chosen, limit=len(events))
    transaction.on_commit(partial(doorbell.ring, receiver.queue), robust=True)


def _audited(
    receiver: Receiver,
    audit: Audit,
    scope: Scope,
    before: datetime,
    repair: bool,
    progress: Progress,
) -> Iterator[Finding]:
    for chunk in _chunks(_in_span(_finished(receiver), scope, before)):
        found = _flaws_at_rest(audit, chunk, before)
        mendable = repairable(found)
        repaired = redeliver(receiver, mendable) if repair else set()
        keys = {event.event_id: event.key for event in chunk}
        for flaw in found:
            finding = _of_flaw(receiver, flaw, keys[flaw.event_id])
            yield replace(
                finding,
                is_repairable=flaw.kind == FlawKind.MISSING and flaw.event_id in mendable,
                is_repaired=flaw.kind == FlawKind.MISSING and flaw.event_id in repaired,
            )
        progress(len(chunk))


def _finished(receiver: Receiver) -> QuerySet[Event]:
    """Return the events that the receiver was given and has applied, so that it must show.

    Skipped ones were given up by somebody. Where a delivery was pruned, the inbox remembers.
    """
    this = {"event_id": OuterRef("event_id"), "receiver": receiver.name, "target": ""}
    deliveries = Delivery.objects.filter(**this)
    finished = Q(Exists(deliveries.filter(state=DeliveryState.DONE)))
    if receiver.inbox is not None:
        applied = Exists(receiver.inbox._default_manager.filter(**this))
        finished |= Q(applied) & ~Q(Exists(deliveries))
    types = [signal.type for signal in receiver.signals]
    return Event.objects.filter(known_types(), finished, type__in=types)


def _in_span(events: QuerySet[Event], scope: Scope, before: datetime) -> QuerySet[Event]:
    events = events.filter(occurred_at__lt=before, position__gt=scope.after)
    if scope.until is not None:
        events = events.filter(position__lte=scope.until)
    return events.filter(occurred_at__gte=scope.since) if scope.since else events


def _chunks(events: QuerySet[Event]) -> Iterator[list[Event]]:
    reached = 0
    ordered = events.order_by("position")
    while chunk := list(ordered.filter(position__gt=reached)[:CHUNK_SIZE]):
        yield chunk
        reached = chunk[-1].position


def _flaws_at_rest(audit: Audit, chunk: Sequence[Event], before: datetime) -> list[Flaw]:
    """Return the audit's flaws, without those about keys for which more is happening.

    That is asked after the audit: what it took for a flaw may be the work of a later event.
    """
    found = list(audit.look([get_signal(row.type).read(row) for row in chunk]))
    if not found:
        return []
    wrong = {flaw.event_id for flaw in found}
    keys = {row.event_id: row.key for row in chunk if row.event_id in wrong}
    moving = _moving(audit, set(keys.values()), before)
    return [flaw for flaw in found if keys[flaw.event_id] not in moving]


def _moving(audit: Audit, keys: Collection[str], before: datetime) -> set[str]:
    """Return the keys that have a young event, or a delivery open that the audit depends on."""
    open_ = Delivery.objects.filter(
        receiver__in=audit.depends_on, target="", key__in=keys, finished_at__isnull=True
    )
    young = Event.objects.filter(key__in=keys, occurred_at__gte=before).order_by()
    return {*open_.values_list("key", flat=True), *young.values_list("key", flat=True)}


_DO = {
    FlawKind.MISSING: "deliver the event once more",
    FlawKind.DOUBLED: "Nothing is taken away by a repair: decide which one is to stay.",
    FlawKind.TORN: "A repeated delivery would not mend it: look at what wrote the rows.",
}


def _of_flaw(receiver: Receiver, flaw: Flaw, key: str) -> Finding:
    return Finding(
        audit=receiver.name,
        kind=Kind(flaw.kind.value),
        what=flaw.what,
        do=_DO[flaw.kind],
        event_id=flaw.event_id,
        key=key,
    )


def _of_breach(audit: str, kind: Kind, breach: Breach) -> Finding:
    return Finding(
        audit=audit,
        kind=kind,
        what=f"{breach.total} × {breach.what}.",
        do=breach.hint,
        ids=breach.ids,
        total=breach.total,
    )
