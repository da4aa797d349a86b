"""Record events and their deliveries with the change; announce them after the commit."""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from events import context, queue, tracing
from events.envelope import Event
from events.models import Delivery
from events.models import Event as EventRow

if TYPE_CHECKING:
    from events.receivers import Receiver
    from events.signals import EventSignal

D = TypeVar("D")
logger = logging.getLogger(__name__)


class PublishedOutsideTransaction(RuntimeError):
    """An event must commit with the change it speaks of. Publish inside transaction.atomic()."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def record(
    signal: "EventSignal[D]", data: Sequence[D], causes: Sequence[Event[Any]] | None
) -> list[Event[D]]:
    """Insert one event per item and one delivery per item and receiver: two statements in all."""
    connection = connections[DEFAULT_DB_ALIAS]
    if not connection.in_atomic_block:
        raise PublishedOutsideTransaction
    if not data:
        return []
    rows = [
        EventRow(**signal.to_row(item), **origin)
        for item, origin in zip(data, _origins(len(data), causes), strict=True)
    ]
    with tracing.publishing(rows, causes):
        EventRow.objects.bulk_create(rows)
        Delivery.objects.bulk_create(_deliveries(signal, rows))
    events = [signal.read(row) for row in rows]
    _announce_on_commit([(signal, event) for event in events])
    return events


def deliver_to(receiver: "Receiver", addressed: Iterable[tuple[Event[Any], str]]) -> None:
    """Owe a targeted receiver events, each for a target: one statement. What it has stays as it is.

    Called in a transaction, in the order of the events of each key: they reach a target in it.
    """
    rows = [
        Delivery(
            event_id=event.id,
            receiver=receiver.name,
            target=target,
            queue=receiver.queue,
            type=event.type,
            version=event.version,
            key=event.key,
            position=event.position,
        )
        for event, target in addressed
    ]
    if rows:
        Delivery.objects.bulk_create(rows, ignore_conflicts=True)
        transaction.on_commit(partial(queue.ring, receiver.queue), robust=True)


def _origins(count: int, causes: Sequence[Event[Any]] | None) -> list[dict[str, Any]]:
    """Return the correlation and causation of each event: its cause's, or the running context's."""
    if causes is not None:
        return [_origin(cause) for cause in causes]
    return [_origin(context.current_cause())] * count


def _origin(cause: Event[Any] | None) -> dict[str, Any]:
    if cause is None:
        return {"correlation_id": context.correlation_id()}
    return {"correlation_id": cause.correlation_id, "causation_id": cause.id}


def _deliveries(signal: "EventSignal[Any]", rows: Sequence[EventRow]) -> list[Delivery]:
    return [
        Delivery(
            event_id=row.event_id,
            receiver=receiver,
            queue=queue_name,
            type=row.type,
            version=row.version,
            key=row.key,
            position=row.position,
        )
        for row in rows
        for receiver, queue_name in signal.queues_by_receiver.items()
    ]


class _Announcement:
    """Events that were recorded under the same savepoints, to be announced after the commit.

    They share a fate, and so an announcement. All announcements of one transaction share `rung`:
    when the first of them runs, everything is committed, and one bell per queue is enough.
    """

    def __init__(self, rung: set[str]) -> None:
        self.events: list[tuple[EventSignal[Any], Event[Any]]] = []
        self.rung = rung

    def __call__(self) -> None:
        """Send the signal of each event. No listener can harm another, or the caller."""
        with queue.rings_collected(but=self.rung):
            for signal, event in self.events:
                signal.send_robust(sender=type(event.data), event=event)


def _announce_on_commit(events: list[tuple["EventSignal[Any]", Event[Any]]]) -> None:
    connection = connections[DEFAULT_DB_ALIAS]
    savepoints = set(connection.savepoint_ids)
    rung: set[str] = set()
    for sids, hook, *_ in connection.run_on_commit:
        if isinstance(hook, _Announcement):
            rung = hook.rung
            if sids == savepoints:
                hook.events.extend(events)
                return
    announcement = _Announcement(rung)
    announcement.events.extend(events)
    transaction.on_commit(announcement, robust=True)
