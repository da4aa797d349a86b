"""Statements about many rows at once, without a parameter for each value.

psycopg fills every placeholder in by itself, and parses a statement anew that has more than fifty:
with five hundred that takes longer than the statement. So many values are one array, or one JSON.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import AutoField, F, Field, JSONField, Model
from django.db.models.lookups import In

NOW = {  # as Django's Now(), for what the ORM can not say
    "postgresql": "STATEMENT_TIMESTAMP()",
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",
}
IN_SECONDS = {  # from NOW; takes a number
    "postgresql": "STATEMENT_TIMESTAMP() + MAKE_INTERVAL(secs => %s)",
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', %s || ' seconds')",
}


class Among(In):
    """`IN`, as one array on PostgreSQL."""

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Return `column = ANY(array)`."""
        column, parameters = self.process_lhs(compiler, connection)
        field = self.lhs.output_field
        values = [field.get_db_prep_value(value, connection) for value in self.rhs]
        return f"{column} = ANY(%s)", [*parameters, _array(values)]


def among(field: str, values: Iterable[Any]) -> Among:
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


def insert(rows: Sequence[Model], or_else: str = "") -> list[tuple[Any, ...]]:
    """Insert unsaved rows of one model. `or_else` ends the statement: ON CONFLICT …, RETURNING ….

    Return what the database returns. What bulk_create does besides is left out: a field that fills
    itself in as it is saved, or by a default of the database, is not for here.
    """
    if not rows:
        return []
    meta = rows[0]._meta
    fields = [field for field in meta.concrete_fields if not isinstance(field, AutoField)]
    sql, parameters = rows_of(*(_column(field, rows) for field in fields))
    names = ", ".join(str(field.column) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {meta.db_table} ({names}) {sql} {or_else}", parameters)
        returned = cursor.fetchall() if cursor.description else []
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
    return returned


def _column(field: Field[Any, Any], rows: Sequence[Model]) -> tuple[str, list[Any]]:
    """Return a field's type, and its values as `rows_of` takes them."""
    database = connections[DEFAULT_DB_ALIAS]
    values = [getattr(row, field.attname) for row in rows]
    if isinstance(field, JSONField):
        values = [json.dumps(value) for value in values]
    elif database.vendor != "postgresql":  # there, arrays are of what Python calls things
        values = [field.get_db_prep_save(value, database) for value in values]
    # Without its length: a cast to varchar(9) would cut off what the column refuses.
    return str(field.db_type(database)).partition("(")[0], values


def _array(values: Sequence[Any]) -> str:
    """Return an array as PostgreSQL reads it. For psycopg it takes several times as long."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, UUID):
        return value.hex  # the dashes take longer than all else
    text = str(value).replace("\\", r"\\").replace('"', r"\"")
    return f'"{text}"'
