"""Statements about many rows at once, without a parameter for each value.

psycopg fills every placeholder in by itself, and parses a statement anew that has more than fifty:
with five hundred that takes longer than the statement. So many values are one array, or one JSON.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.lookups import In

NOW = {  # as Django's Now(), for what the ORM can not say
    "postgresql": "STATEMENT_TIMESTAMP()",
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",
}


class Among(In):
    """`IN`, as one array on PostgreSQL."""

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Return `column = ANY(array)`."""
        column, parameters = self.process_lhs(compiler, connection)
        field = self.lhs.output_field
        values = [field.get_db_prep_value(value, connection) for value in self.rhs]
        return f"{column} = ANY(%s)", [*parameters, _array(values)]


def among(field: str, values: Collection[Any]) -> Among:
    """Return the condition that a field of the filtered rows has one of these values."""
    return Among(F(field), list(values))


def rows_of(*columns: tuple[str, Sequence[Any]]) -> tuple[str, list[Any]]:
    """Return a SELECT of rows to insert, and its parameters, however many rows there are.

    Each column is a type of PostgreSQL's and, prepared for the database, a value for each row.
    """
    values = [values for _, values in columns]
    if connection.vendor == "postgresql":
        arrays = ", ".join(f"%s::{type_}[]" for type_, _ in columns)
        return f"SELECT * FROM unnest({arrays})", list(map(_array, values))  # noqa: S608
    fields = ", ".join(f"json_extract(value, '$[{number}]')" for number in range(len(columns)))
    # Without a condition SQLite takes the ON of a following ON CONFLICT for that of a join.
    return f"SELECT {fields} FROM json_each(%s) WHERE true", [json.dumps(list(zip(*values)))]  # noqa: B905, S608


def _array(values: Sequence[Any]) -> Any:
    """Return an array as psycopg takes it; of ids as text, which it need not look through."""
    if values and isinstance(values[0], UUID | int):
        return "{" + ",".join(map(str, values)) + "}"
    return list(values)
