"""Which deliveries this release may run: one predicate for claim, sweep and age alike.

It is asked receiver by receiver: what waits for a paused receiver, however much, costs the others
nothing, because no index that a claim reads has it in its way.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from events.delivery.floors import BEGINNING, floor_of, note_first
from events.models import Delivery, ReceiverState
from events.receivers import Receiver, all_receivers
from events.rows import NOW
from events.signals import all_signals

Readable = tuple[tuple[str, int, int], ...]  # types, each with its first and last version


def active_receivers(queue: str = "") -> list[Receiver]:
    """Return the receivers, of one queue or of all, that are not paused."""
    paused = ReceiverState.objects.filter(paused_at__isnull=False)
    names = set(paused.values_list("name", flat=True))
    return [r for r in all_receivers() if queue in {"", r.queue} and r.name not in names]


def claimable_deliveries(receiver: Receiver) -> QuerySet[Delivery]:
    """Return the deliveries that may be claimed for an active receiver once they are due.

    Types and versions that this release cannot read are simply not among them: they ring no bell,
    age in no alarm and wait for the code that can.
    """
    return Delivery.objects.filter(known_types(), receiver=receiver.name, due_at__isnull=False)


def due_deliveries(receiver: Receiver) -> QuerySet[Delivery]:
    """Return the deliveries that may be claimed for an active receiver now."""
    return claimable_deliveries(receiver).filter(due_at__lte=Now())


def _due_of_any_type(receiver: Receiver) -> QuerySet[Delivery]:
    return Delivery.objects.filter(receiver=receiver.name, due_at__lte=Now())


def has_due_deliveries(queue: str, *, to_targets: bool = True) -> bool:
    """Tell whether the queue has work now, that of targeted receivers included or not."""
    asked = [r for r in active_receivers(queue) if to_targets or not r.targeted]
    return bool(with_due_deliveries(asked))


def due_queues() -> list[str]:
    """Return the queues that have work now. Asked for all at once: mostly there is none."""
    return sorted({receiver.queue for receiver in with_due_deliveries(active_receivers())})


def with_due_deliveries(receivers: Sequence[Receiver]) -> list[Receiver]:
    """Return those of some active receivers that have something due now.

    Asked is first who has anything due, which mostly nobody has, and of those who has something
    that this release can read. PostgreSQL plans the latter for longer than it takes to answer both.
    """
    return _asked(_asked(receivers), readable_types())


def _asked(receivers: Sequence[Receiver], readable: Readable | None = None) -> list[Receiver]:
    """Ask who has something due, of any type or of readable ones. One statement, or none."""
    if not receivers:
        return []
    floors = {receiver.name: floor_of(receiver.name) for receiver in receivers}
    sql, template = _question(tuple(receivers), readable)
    with connection.cursor() as cursor:
        cursor.execute(sql, _with_floors(template, floors.values()))
        rows = cursor.fetchall()
    due = {name for name, first, _ in rows if first is not None}
    for name, first, now in rows:
        is_last_answer = readable is not None or name not in due
        if is_last_answer and floors[name] == BEGINNING and connection.vendor == "postgresql":
            note_first(name, first, now)
    return [receiver for receiver in receivers if receiver.name in due]


@lru_cache(maxsize=256)
def _question(receivers: tuple[Receiver, ...], readable: Readable | None) -> tuple[str, list[Any]]:
    """Return the statement that tells since when the first of each receiver is due, if any is.

    Workers ask it all the time, and to compile it takes longer than to answer it: its text is kept
    for as long as this process reads the same types. In its parameters BEGINNING stands for the
    floor of each receiver in turn.
    """
    parts: list[str] = []
    parameters: list[Any] = []
    due = due_deliveries if readable else _due_of_any_type
    for receiver in receivers:
        # In the order of an index, which EXISTS would ignore: where much is due, the database would
        # rather go through the table until it meets some of it, and what is due is at its end.
        above = due(receiver).filter(due_at__gte=BEGINNING)
        sql, values = above.order_by("due_at").values("due_at")[:1].query.sql_with_params()
        parts.append(f"SELECT %s, ({sql}), {NOW[connection.vendor]}")
        parameters += [receiver.name, *values]
    return " UNION ALL ".join(parts), parameters


def _with_floors(template: list[Any], floors: Iterable[datetime]) -> list[Any]:
    adapted = map(connection.ops.adapt_datetimefield_value, (BEGINNING, *floors))
    beginning = next(adapted)
    return [next(adapted) if value == beginning else value for value in template]


def open_receivers() -> set[tuple[str, str]]:
    """Return each receiver that has open deliveries, with each queue that some of them stand in."""
    open_ones = Delivery.objects.filter(finished_at__isnull=True)
    return set(open_ones.order_by().values_list("receiver", "queue").distinct())


def stranded(open_ones: Iterable[tuple[str, str]]) -> list[str]:
    """Return those receivers, of `open_receivers`, that this release does not know."""
    return sorted({name for name, _ in open_ones} - {each.name for each in all_receivers()})


def known_types() -> Q:
    """Return the condition that this release can read a delivery's event."""
    types: dict[tuple[int, int], list[str]] = {}  # few conditions: every claim compiles them
    for name, first, last in readable_types():
        types.setdefault((first, last), []).append(name)
    known = Q(pk__in=[])
    for first_to_last, names in types.items():
        known |= Q(type__in=names, version__range=first_to_last)
    return known


def readable_types() -> Readable:
    """Return the types of events that this release can read, with their first and last version."""
    return tuple(
        (signal.type, signal.readable_versions.start, signal.readable_versions.stop - 1)
        for signal in all_signals()
    )
