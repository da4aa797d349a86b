"""Give a receiver events again whose effect is missing though it was done with them.

The inbox row would keep the receiver from running: it goes in the transaction that makes the
delivery due, which holds the delivery's lock as a drain does. Whether the effect is still missing
is asked once more under that lock, so that whoever repaired or replayed meanwhile has the last say.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from uuid import UUID

from django.db import transaction

from events import queue as doorbell
from events.delivery.completion import out_of_order
from events.models import Delivery, DeliveryState, Event
from events.operations.audits import Flaw, FlawKind, audit_of
from events.operations.chunks import in_short_transaction
from events.operations.replay import put_back
from events.receivers import Receiver
from events.signals import get_signal

CHUNK_SIZE = 100  # events in one transaction


def redeliver(receiver: Receiver, event_ids: Sequence[UUID]) -> set[UUID]:
    """Make the events due once more whose effect is missing still. Return which those are.

    In chunks that commit. They run out of their lanes' order.
    """
    redelivered: set[UUID] = set()
    for start in range(0, len(event_ids), CHUNK_SIZE):
        chunk = event_ids[start : start + CHUNK_SIZE]
        redelivered |= in_short_transaction(partial(_redeliver, receiver, chunk))
    return redelivered


def repairable(flaws: Iterable[Flaw]) -> list[UUID]:
    """Return the events that a redelivery mends: nothing of their effect is there, or too much."""
    flaws = list(flaws)
    beyond = {flaw.event_id for flaw in flaws if flaw.kind == FlawKind.TORN}
    missing = dict.fromkeys(flaw.event_id for flaw in flaws if flaw.kind == FlawKind.MISSING)
    return [event_id for event_id in missing if event_id not in beyond]


def _redeliver(receiver: Receiver, event_ids: Sequence[UUID]) -> set[UUID]:
    _add_pruned(receiver, event_ids)
    held = _lock(receiver, event_ids)
    missing = set(repairable(_ask_again(receiver, held)))
    if receiver.inbox is not None:
        receiver.inbox._default_manager.filter(
            receiver=receiver.name, target="", event_id__in=missing
        ).delete()
    put_back([d.pk for d in held if d.event_id in missing], DeliveryState.DONE)
    transaction.on_commit(partial(doorbell.ring, receiver.queue), robust=True)
    return missing


def _add_pruned(receiver: Receiver, event_ids: Sequence[UUID]) -> None:
    """Insert deliveries for events that had one long ago. They are due; the inbox row is there."""
    deliveries = Delivery.objects.filter(
        receiver=receiver.name, target="", event__event_id__in=event_ids
    )
    events = Event.objects.filter(event_id__in=event_ids)
    pruned = events.exclude(event_id__in=deliveries.values("event_id")).order_by("position")
    Delivery.objects.bulk_create(
        [out_of_order(receiver, event) for event in pruned.order_by("position")],
        ignore_conflicts=True,
    )


def _lock(receiver: Receiver, event_ids: Sequence[UUID]) -> list[Delivery]:
    """Lock the deliveries that nobody runs, in the order in which drains lock theirs."""
    deliveries = Delivery.objects.filter(
        receiver=receiver.name,
        target="",
        event__event_id__in=event_ids,
        state__in=[DeliveryState.DONE, DeliveryState.PENDING],
    )
    return list(deliveries.select_related("event").select_for_update(of=("self",)).order_by("pk"))


def _ask_again(receiver: Receiver, held: Sequence[Delivery]) -> Iterator[Flaw]:
    audit = audit_of(receiver.name)
    if audit is not None and held:
        rows = sorted((delivery.event for delivery in held), key=lambda row: row.position)
        yield from audit.look([get_signal(row.type).read(row) for row in rows])
