"""Record events and their deliveries with the change; announce them after the commit."""

import logging
from collections.abc import Iterable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from events import context, queue, tracing
from events.envelope import Event
from events.models import Delivery
from events.models import Event as EventRow
from events.rows import NOW, insert, rows_of

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
    if not connections[DEFAULT_DB_ALIAS].in_atomic_block:
        raise PublishedOutsideTransaction
    if not data:
        return []
    rows = [
        EventRow(**signal.to_row(item), **origin)
        for item, origin in zip(data, _origins(len(data), causes), strict=True)
    ]
    with tracing.publishing(rows, causes):
        _insert_events(rows)
        _insert(_deliveries(signal, rows))
    events = [signal.read(row) for row in rows]
    _announce_on_commit([(signal, event) for event in events])
    return events


def deliver_to(receiver: "Receiver", addressed: Iterable[tuple[Event[Any], str]]) -> None:
    """Owe a targeted receiver events, each for a target: one statement. What it has stays as it is.

    Called in a transaction, in the order of the events of each key: they reach a target in it.
    """
    rows = [
        _Owed(
            event.id,
            receiver.name,
            target,
            receiver.queue,
            event.type,
            event.version,
            event.key,
            event.position,
        )
        for event, target in addressed
    ]
    if rows:
        _insert(rows, "ON CONFLICT DO NOTHING")
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


def _insert_events(rows: Sequence[EventRow]) -> None:
    """Insert events, in their order, and fill in the positions that they got."""
    event_id = EventRow._meta.get_field("event_id")
    returned = insert(rows, "RETURNING event_id, position")
    positions = {event_id.to_python(found): position for found, position in returned}
    for row in rows:
        row.position = positions[row.event_id]


class _Owed(NamedTuple):
    """What tells one new delivery from another. In all else they are alike."""

    event_id: UUID
    receiver: str
    target: str
    queue: str
    type: str
    version: int
    key: str
    position: int


_COLUMN_TYPES = ("uuid", "text", "text", "text", "text", "integer", "text", "bigint")


def _deliveries(signal: "EventSignal[Any]", rows: Sequence[EventRow]) -> list[_Owed]:
    return [
        _Owed(row.event_id, receiver, "", queue_name, row.type, row.version, row.key, row.position)
        for row in rows
        for receiver, queue_name in signal.queues_by_receiver.items()
    ]


def _insert(owed: Sequence[_Owed], or_else: str = "") -> None:
    """Insert deliveries, due now by the database's clock.

    bulk_create would give each row's default of the database a place of its own in the statement:
    for a batch of 500 that takes several times as long as all else that publishing does.
    """
    if not owed:
        return
    event_id = Delivery._meta.get_field("event_id")
    ids = [event_id.get_db_prep_value(row.event_id, connection) for row in owed]
    columns = [ids, *list(zip(*owed, strict=True))[1:]]
    rows, parameters = rows_of(*zip(_COLUMN_TYPES, map(list, columns), strict=True))
    alike = _alike(connection.vendor)
    names = ", ".join([*_Owed._fields, *alike, "due_at"])
    constants = ", ".join(["%s"] * len(alike))
    sql = (
        f"INSERT INTO {Delivery._meta.db_table} ({names}) "  # noqa: S608
        f"SELECT owed.*, {constants}, {NOW[connection.vendor]} "
        f"FROM ({rows}) AS owed WHERE true {or_else}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*alike.values(), *parameters])


@cache
def _alike(vendor: str) -> dict[str, Any]:
    """Return what new deliveries have in common, by column, but for what is empty."""
    blank = Delivery()
    values = {
        str(field.column): field.get_db_prep_save(getattr(blank, field.attname), connection)
        for field in Delivery._meta.concrete_fields
        if field.name != "due_at" and not field.primary_key
    }
    return {
        column: value
        for column, value in values.items()
        if value is not None and column not in _Owed._fields
    }


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
