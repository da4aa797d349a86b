"""I6 to I10: what must hold of events and deliveries, whatever the receivers do."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import connection
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet, Window
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from events.delivery.claim import LEASE_S, earlier_in_lane
from events.delivery.claimable import active_receivers, claimable_deliveries
from events.models import AbstractProcessedEvent, Attempt, Delivery, DeliveryState, Event
from events.operations.checksum import effect_tables
from events.operations.invariants import Breach, Circumstances, breaches_in, invariant
from events.operations.missing import undelivered
from events.operations.overdue import overdue
from events.receivers import Guarantee, Receiver, all_receivers

STUCK_AFTER_S = 60  # past its time by this much, nobody is coming for a delivery

_TELL = "No code path leads here. Keep a copy of the database and look at what wrote the rows."


@invariant("I6", "Every effect and every caused event names an event that exists.")
def check_references(circumstances: Circumstances) -> Iterator[Breach]:
    """I6. An effect of an event that was never committed came out of a transaction torn apart."""
    for table in effect_tables():
        if table.event_field:
            yield from breaches_in(
                table.model._default_manager.filter(_names_no_event(table.event_field)),
                what=f"{table.model._meta.label} rows name an event that does not exist",
                hint=_TELL,
            )
    for inbox in _inboxes():
        yield from breaches_in(
            inbox._default_manager.filter(_names_no_event("event_id")),
            what=f"{inbox._meta.label} rows name an event that does not exist",
            hint=_TELL,
        )
    yield from breaches_in(
        Event.objects.filter(_names_no_event("causation_id")),
        what="events were caused by an event that does not exist",
        hint=_TELL,
        id_field="event_id",
    )


@invariant("I7", "Attempts are counted up to the limit, and every delivery has one outcome.")
def check_attempts(circumstances: Circumstances) -> Iterator[Breach]:
    """I7. That what is done left its inbox row is a matter of I9.

    An attempt's number may be above the delivery's count: a replay counts anew.
    """
    yield from breaches_in(
        _over_the_limit(),
        what="deliveries were attempted more often than their receivers allow",
        hint="`manage.py explain --event ID` shows the attempts of one.",
    )
    yield from breaches_in(
        Attempt.objects.filter(_attempts_over_the_limit() | Q(number=0)),
        what="failed attempts have a number that no attempt of their receiver can have",
        hint=_TELL,
    )
    yield from breaches_in(
        Delivery.objects.filter(state=DeliveryState.DONE, attempts=0),
        what="deliveries are done without an attempt",
        hint=_TELL,
    )
    yield from breaches_in(
        Delivery.objects.filter(state=DeliveryState.DEAD, last_error=""),
        what="deliveries are dead without an error",
        hint="`manage.py replay --event ID` gives one another chance.",
    )
    for inbox in _inboxes():
        applied = _applied_but_unfinished(inbox)
        for receiver in _receivers_of(applied):
            yield from breaches_in(
                applied.filter(receiver=receiver.name),
                what=f"deliveries to {receiver.name} were applied, but are not done",
                hint=_TELL,
            )


@invariant("I8", "Every event has one delivery for each receiver, and none is stuck.")
def check_deliveries(circumstances: Circumstances) -> Iterator[Breach]:
    """I8. What is dead, skipped, paused, parked or unknown here is accounted for."""
    for receiver in all_receivers():
        yield from breaches_in(
            undelivered(receiver),
            what=f"events have no delivery for {receiver.name}",
            hint=f"`manage.py backfill {receiver.name} --since TIME` delivers them.",
            id_field="event_id",
        )
    doubled = Delivery.objects.values("event_id", "receiver", "target").annotate(count=Count("pk"))
    yield from breaches_in(
        doubled.filter(count__gt=1),
        what="events have several deliveries for one receiver and target",
        hint=_TELL,
        id_field="event_id",
    )
    yield from _check_rest() if circumstances.at_rest else _check_stuck()


@invariant("I9", "Replaying everything would change nothing.")
def check_inboxes(circumstances: Circumstances) -> Iterator[Breach]:
    """I9. The inbox row is what keeps a replay from applying an event again."""
    for inbox in _inboxes():
        unknown = _to_be_noted_in(inbox).filter(~Exists(_rows_of(inbox)), state=DeliveryState.DONE)
        for receiver in _receivers_of(unknown):
            yield from breaches_in(
                unknown.filter(receiver=receiver.name),
                what=f"deliveries to {receiver.name} are done without a row in its inbox",
                hint="Do not replay them before you know whether their effects are there.",
            )


@invariant("I10", "Within a lane, nothing is done before what stands before it.")
def check_order(circumstances: Circumstances) -> Iterator[Breach]:
    """I10. What has no position (replayed, backfilled) stands in no lane."""
    heads = Delivery.objects.filter(finished_at__isnull=True, position__isnull=False)
    yield from breaches_in(
        # Only the first of a lane is asked: a dead letter may have a hundred thousand behind it.
        heads.filter(~Exists(earlier_in_lane())).filter(Exists(_events_done_later())),
        what="unfinished deliveries were overtaken by a later one of their lane",
        hint="Look whether the publisher holds the key's row lock; then replay or skip them.",
    )
    yield from breaches_in(
        _done_out_of_order(),
        what="done deliveries were overtaken by a later one of their lane",
        hint="Look whether the publisher holds the key's row lock, and the clock was not set back.",
    )


def _names_no_event(field: str) -> Q:
    known = Event.objects.filter(event_id=OuterRef(field))
    return Q(~Exists(known), **{f"{field}__isnull": False})


def _inboxes() -> list[type[AbstractProcessedEvent]]:
    inboxes = {receiver.inbox for receiver in all_receivers() if receiver.inbox}
    return sorted(inboxes, key=lambda inbox: inbox._meta.label)


def _receivers_of(deliveries: QuerySet[Delivery]) -> list[Receiver]:
    """Return the receivers of some deliveries. Mostly there are none, and no more is asked."""
    names = set(deliveries.order_by().values_list("receiver", flat=True).distinct())
    return [receiver for receiver in all_receivers() if receiver.name in names]


def _to_be_noted_in(inbox: type[AbstractProcessedEvent]) -> QuerySet[Delivery]:
    """Return the deliveries to the exactly-once receivers that this is the inbox of."""
    names = [
        receiver.name
        for receiver in all_receivers()
        if receiver.inbox is inbox and receiver.guarantee is Guarantee.EXACTLY_ONCE
    ]
    return Delivery.objects.filter(receiver__in=names)


def _rows_of(inbox: type[AbstractProcessedEvent]) -> QuerySet[AbstractProcessedEvent]:
    """Return, for a subquery, the inbox row of the outer delivery."""
    return inbox._default_manager.filter(
        event_id=OuterRef("event_id"), receiver=OuterRef("receiver"), target=OuterRef("target")
    )


def _limit(receiver: Receiver) -> int:
    at_most_once = receiver.guarantee is Guarantee.AT_MOST_ONCE
    return 1 if at_most_once else receiver.retry.max_attempts


def _over_the_limit() -> QuerySet[Delivery]:
    """Return deliveries attempted too often; a release that allowed more may have made some."""
    too_often = Q(pk__in=[])
    for receiver in all_receivers():
        too_often |= Q(receiver=receiver.name, attempts__gt=_limit(receiver))
    by_others = Attempt.objects.filter(delivery=OuterRef("pk")).exclude(release=settings.RELEASE)
    return Delivery.objects.filter(too_often).filter(~Exists(by_others))


def _attempts_over_the_limit() -> Q:
    too_often = Q(pk__in=[])
    for receiver in all_receivers():
        too_often |= Q(delivery__receiver=receiver.name, number__gt=_limit(receiver))
    return too_often & Q(release=settings.RELEASE)


def _applied_but_unfinished(inbox: type[AbstractProcessedEvent]) -> QuerySet[Delivery]:
    # A replayed one has an inbox row rightly; it has lost its position.
    return _to_be_noted_in(inbox).filter(
        Exists(_rows_of(inbox)), finished_at__isnull=True, position__isnull=False
    )


def _check_stuck() -> Iterator[Breach]:
    before = Now() - timedelta(seconds=STUCK_AFTER_S)
    for receiver in _active_of(Delivery.objects.filter(due_at__lt=before)):
        yield from breaches_in(
            overdue(receiver, by=timedelta(seconds=STUCK_AFTER_S)),
            what=f"deliveries to {receiver.name} are due for over {STUCK_AFTER_S} s",
            hint=f"Is a worker running? `manage.py worker {receiver.queue}` starts one.",
        )
    yield from breaches_in(
        Delivery.objects.filter(lease_expires_at__lt=before),
        what=f"deliveries are running under a lease that ended over {STUCK_AFTER_S} s ago",
        hint="Any running worker releases them: `manage.py worker` starts one.",
    )


def _check_rest() -> Iterator[Breach]:
    for receiver in _active_of(Delivery.objects.filter(due_at__isnull=False)):
        yield from breaches_in(
            claimable_deliveries(receiver).filter(~Exists(earlier_in_lane())),
            what=f"deliveries to {receiver.name} are still pending",
            hint=f"Wait for the retries, or start a worker: `manage.py worker {receiver.queue}`.",
        )
    yield from breaches_in(
        Delivery.objects.filter(state=DeliveryState.RUNNING),
        what="deliveries are still running",
        hint="Wait, or see whether their worker is alive: the lease names it.",
    )
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING)
    yield from breaches_in(
        waiting.filter(~Exists(earlier_in_lane())),
        what="deliveries wait though nothing stands before them",
        hint="A running worker wakes them: `manage.py worker` starts one.",
    )


def _active_of(deliveries: QuerySet[Delivery]) -> list[Receiver]:
    """Return the receivers of some deliveries, without those that are paused."""
    active = active_receivers()
    return [receiver for receiver in _receivers_of(deliveries) if receiver in active]


def _done_out_of_order() -> QuerySet[Delivery]:
    """Return what was done after a later one of its lane, though it was there to be done before.

    One pass over the finished: each is compared with the first done of those from it on. What had
    not occurred by then, by whichever clock, was not overtaken. Nor was what came to be owed after
    a later one: a fan-out that is replayed or backfilled addresses its targets out of order.
    """
    done = Delivery.objects.filter(state=DeliveryState.DONE, position__isnull=False)
    from_it_on = partial(
        Window, partition_by=["receiver", "target", "key"], order_by=F("position").desc()
    )
    rows = done.annotate(
        overtaken_at=from_it_on(Min("finished_at")), first_owed=from_it_on(Min("pk"))
    )
    return rows.filter(
        first_owed=F("pk"),
        overtaken_at__lt=F("finished_at"),
        event__occurred_at__lte=_committed_by(F("overtaken_at")),
    )


def _committed_by(moment: F) -> Combinable:
    """Return when an event must have occurred to be committed by a moment, however long that took.

    On SQLite nobody writes in between, and positions are committed in their order.
    """
    if connection.vendor == "sqlite":
        return moment
    return moment - timedelta(seconds=LEASE_S)  # no transaction of ours takes longer


def _events_done_later() -> QuerySet[Event]:
    """Return, for a subquery, the later events of the outer delivery's lane that are done.

    And that came to be owed later.
    """
    done = Delivery.objects.filter(
        pk__gt=OuterRef(OuterRef("pk")),
        event_id=OuterRef("event_id"),
        receiver=OuterRef(OuterRef("receiver")),
        target=OuterRef(OuterRef("target")),
        state=DeliveryState.DONE,
        position__isnull=False,
    )
    # By way of the event: its index leads to a key's later positions, the deliveries have none.
    return Event.objects.filter(
        Exists(done), key=OuterRef("key"), position__gt=OuterRef("position")
    )
