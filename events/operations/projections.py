"""Read models made of events: kept by a receiver, and rebuilt from the log at any time.

A projection has one row for each event it shows, with the event's id as its primary key. So an
event that is delivered again, or while a rebuild meets it, is there once all the same; and a
rebuild corrects the rows in place, chunk by chunk, while pages go on reading them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Exists, Model, OuterRef, QuerySet

from events.delivery.claimable import known_types
from events.envelope import Event
from events.models import Event as EventRow
from events.operations.audits import Flaw, FlawKind
from events.operations.chunks import CHUNK_SIZE, Progress, in_short_transaction, silent
from events.rows import insert
from events.signals import EventSignal, get_signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A read model. `rows` makes the unsaved rows of some events, in a few queries for all."""

    name: str  # "coupons.funnel"
    signals: tuple[EventSignal[Any], ...]
    model: type[Model]  # its primary key is the field event_id
    rows: Callable[[Sequence[Event[Any]]], Iterable[Model]]

    def apply(self, events: Sequence[Event[Any]]) -> None:
        """Add the rows of events that have none. This is what the receiver does."""
        insert(list(self.rows(events)), "ON CONFLICT DO NOTHING")

    def audit(self, events: Sequence[Event[Any]]) -> Iterator[Flaw]:
        """Yield the events whose row is not there: the audit of the receiver."""
        there = self.model._default_manager.in_bulk([event.id for event in events])
        for row in self.rows(events):
            if row.pk not in there:
                what = f"The projection {self.name} does not show it."
                yield Flaw(event_id=row.pk, kind=FlawKind.MISSING, what=what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild came to, in rows."""

    events: int = 0  # looked at
    added: int = 0
    corrected: int = 0
    removed: int = 0  # of no event, or of one that the projection does not show

    def __add__(self, other: "Rebuilt") -> "Rebuilt":
        return Rebuilt(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in _FIELDS})


_FIELDS = fields(Rebuilt)
_projections: dict[str, Projection] = {}


def register_projection(projection: Projection) -> Projection:
    """Make a projection known to `rebuild_projections`. Raises ImproperlyConfigured if taken."""
    if _projections.setdefault(projection.name, projection) is not projection:
        raise ImproperlyConfigured(f"Two projections are named {projection.name!r}.")
    return projection


def all_projections() -> tuple[Projection, ...]:
    """Return every projection, in order of name."""
    return tuple(_projections[name] for name in sorted(_projections))


def rebuild(
    projection: Projection, *, dry_run: bool = False, progress: Progress = silent
) -> Rebuilt:
    """Make a projection's rows those of the log, while its receiver goes on.

    In chunks that commit: stopped half-way, another call does it all again and finds less to do.
    With `dry_run` nothing is written, and what would be is returned.
    """
    total = Rebuilt()
    for chunk in _chunks(projection):
        total += in_short_transaction(partial(_correct, projection, chunk, dry_run))
        progress(len(chunk))
    strays = _strays(projection)
    if dry_run:
        return total + Rebuilt(removed=strays.count())
    while ids := list(strays.values_list("pk", flat=True)[:CHUNK_SIZE]):
        total += Rebuilt(removed=in_short_transaction(partial(_remove, projection, ids)))
    return total


def _chunks(projection: Projection) -> Iterator[list[EventRow]]:
    types = [signal.type for signal in projection.signals]
    shown = EventRow.objects.filter(known_types(), type__in=types).order_by("position")
    reached = 0
    while chunk := list(shown.filter(position__gt=reached)[:CHUNK_SIZE]):
        yield chunk
        reached = chunk[-1].position


def _correct(projection: Projection, chunk: Sequence[EventRow], dry_run: bool) -> Rebuilt:
    model = projection.model
    wanted = {r.pk: r for r in projection.rows([get_signal(row.type).read(row) for row in chunk])}
    there = model._default_manager.in_bulk([row.event_id for row in chunk])
    missing = [row for pk, row in wanted.items() if pk not in there]
    wrong = [row for pk, row in wanted.items() if pk in there and _differs(row, there[pk])]
    strays = [pk for pk in there if pk not in wanted]
    if not dry_run:
        if missing or wrong:
            # The receiver may add some of the missing at this moment.
            model._default_manager.bulk_create(
                [*missing, *wrong],
                update_conflicts=True,
                unique_fields=["event_id"],
                update_fields=_columns(model),
            )
        _remove(projection, strays)
    return Rebuilt(events=len(chunk), added=len(missing), corrected=len(wrong), removed=len(strays))


def _differs(row: Model, other: Model) -> bool:
    names = [field.attname for field in row._meta.concrete_fields]
    return any(getattr(row, name) != getattr(other, name) for name in names)


def _columns(model: type[Model]) -> list[str]:
    return [field.name for field in model._meta.concrete_fields if not field.primary_key]


def _strays(projection: Projection) -> QuerySet[Any]:
    """Return the rows of events that the log does not have."""
    known = EventRow.objects.filter(event_id=OuterRef("pk"))
    return projection.model._default_manager.filter(~Exists(known))


def _remove(projection: Projection, ids: Sequence[UUID]) -> int:
    if not ids:
        return 0
    return projection.model._default_manager.filter(pk__in=ids).delete()[0]
