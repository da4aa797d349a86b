"""One figure for all effects: equal before and after a replay, and in a copy of the database.

Apps say which rows are their effects, and which columns of them a repetition must not change: ids,
codes, outcomes and amounts, not the times at which somebody wrote or read them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Model, UUIDField

from events.operations.ids import AsKey

_CHUNK_SIZE = 2000  # rows fetched at once
_MODULUS = 2**256

_effects: dict[str, "EffectTable"] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectTable:
    """A table whose rows are effects of events."""

    model: type[Model]
    fields: tuple[str, ...]
    event_field: str | None  # the event that a row is an effect of, where rows tell


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSum:
    """The rows of one table, in two figures."""

    rows: int
    checksum: str


def register_effects(
    model: type[Model], *, fields: Sequence[str], event_field: str | None = None
) -> None:
    """Declare a model's rows to be effects, told apart by these fields."""
    table = EffectTable(model=model, fields=tuple(fields), event_field=event_field)
    _effects[model._meta.label] = table


def effect_tables() -> tuple[EffectTable, ...]:
    """Return the tables of effects, in order of the models' names."""
    return tuple(_effects[label] for label in sorted(_effects))


def table_sums() -> dict[str, TableSum]:
    """Return the sums of every table of effects, by the models' names."""
    return {table.model._meta.label: _sum_of(table) for table in effect_tables()}


def checksum_of(sums: dict[str, TableSum]) -> str:
    """Return one checksum of all tables."""
    text = "\n".join(f"{label} {s.rows} {s.checksum}" for label, s in sorted(sums.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _sum_of(table: EffectTable) -> TableSum:
    # The rows' digests are added up: whichever order the database reads them in is all the same.
    rows = total = 0
    columns = [_column(table.model, name) for name in table.fields]
    values = table.model._default_manager.order_by().values_list(*columns)
    for row in values.iterator(chunk_size=_CHUNK_SIZE):
        rows += 1
        total += int.from_bytes(hashlib.sha256(_text_of(row).encode()).digest())
    return TableSum(rows=rows, checksum=f"{total % _MODULUS:064x}")


def _column(model: type[Model], name: str) -> Any:
    """Return what to select: ids as text, for making UUIDs of them would take most of the time."""
    field: Any = model._meta.get_field(name)
    while field.remote_field:
        field = field.target_field
    return AsKey(name) if isinstance(field, UUIDField) else F(name)


def _text_of(row: Sequence[Any]) -> str:
    return repr([None if value is None else str(value) for value in row])
