"""Migrations' operations that make and drop indexes of big tables while others write to them.

On PostgreSQL both are CONCURRENTLY, outside of any transaction (`atomic = False`). SQLite, where
all wait for the one who writes, has plain ones.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddIndex, RemoveIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

_IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"


class _Online(Operation):
    """What goes by the database's kind. Subclasses name the two operations."""

    concurrent: type[Any]
    plain: type[Any]

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._of(schema_editor).database_forwards(
            self, app_label, schema_editor, from_state, to_state
        )

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._of(schema_editor).database_backwards(
            self, app_label, schema_editor, from_state, to_state
        )

    def _of(self, schema_editor: BaseDatabaseSchemaEditor) -> type[Any]:
        if schema_editor.connection.vendor == "postgresql":
            return self.concurrent
        return self.plain


class AddIndexOnline(_Online, AddIndexConcurrently):
    """Make an index that a migration which broke off before may have made, whole or in part.

    A failed CREATE INDEX CONCURRENTLY leaves an invalid index: that one is dropped first.
    """

    concurrent, plain = AddIndexConcurrently, AddIndex

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Make it, unless it is there and good. `sqlmigrate` always shows it."""
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        if schema_editor.collect_sql or not _is_there(schema_editor, table, self.index.name):
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class RemoveIndexOnline(_Online, RemoveIndexConcurrently):
    """Drop an index."""

    concurrent, plain = RemoveIndexConcurrently, RemoveIndex


def _is_there(schema_editor: BaseDatabaseSchemaEditor, table: str, name: str) -> bool:
    """Tell whether a table has a good index of this name; one that is not good is dropped."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        if name not in connection.introspection.get_constraints(cursor, table):
            return False
        if connection.vendor != "postgresql":
            return True
        quoted = connection.ops.quote_name(name)
        cursor.execute(_IS_VALID, [quoted])
        if cursor.fetchone() == (True,):
            return True
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {quoted}")
    return False
