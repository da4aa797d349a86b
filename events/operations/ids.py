"""Compare ids with event keys in SQL: a key is text, an id is what the database makes of a UUID."""

from typing import Any

from django.db.models import CharField, Func, UUIDField
from django.db.models.sql.compiler import SQLCompiler

from events.models import KEY_LENGTH

_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))  # of 32 digits: first, length
_TEXT = " || '-' || ".join(f"substr(%(expressions)s, {at}, {size})" for at, size in _PARTS)
_UUID = "'^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"


class AsKey(Func):
    """The text that `str()` makes of a UUID column: what stands in `Event.key`."""

    arity = 1
    output_field = CharField(max_length=KEY_LENGTH)

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **context: Any) -> Any:
        """SQLite keeps a UUID as 32 digits. Takes a column, for it is named five times."""
        return self.as_sql(compiler, connection, template=f"({_TEXT})", **context)

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **context: Any) -> Any:
        """PostgreSQL has a type of its own."""
        return self.as_sql(compiler, connection, template="(%(expressions)s)::text", **context)


class AsId(Func):
    """The UUID in a text column such as `Event.key`; null or unlike any where it holds none."""

    arity = 1
    output_field = UUIDField()

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **context: Any) -> Any:
        """Take the hyphens out."""
        template = "replace(%(expressions)s, '-', '')"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **context: Any) -> Any:
        """Cast what has the form of one; `substring` gives null where it has not."""
        template = f"substring(%(expressions)s from {_UUID})::uuid"
        return self.as_sql(compiler, connection, template=template, **context)
