"""Django's SQLite backend, with writers queueing at a file lock instead of SQLite's busy handler.

SQLite has one writer. Its busy handler sleeps up to 100 ms between tries, so a sign-up meets a
draining backlog again and again at the wrong moment. Here every writing block first takes an
flock beside the database, which a waiter asks for every 0.3 ms and which dies with its holder.
See docs/adr/0005-sqlite-write-lock.md.
"""

import re
from pathlib import Path
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base, features, operations

from events.delivery.progress import told
from events.filelock import FileLock

_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|ALTER|DROP)\b", re.IGNORECASE)


class DatabaseFeatures(features.DatabaseFeatures):
    """What this SQLite can do."""

    max_query_params = 32766  # SQLite's own default since 3.32; Django assumes 999 on some versions


class DatabaseOperations(operations.DatabaseOperations):
    """SQL generation that differs from Django's."""

    def bulk_batch_size(self, fields: Any, objs: Any) -> int:
        """Return how many rows fit one statement: an event's deliveries must be one statement."""
        return max(1, DatabaseFeatures.max_query_params // max(1, len(fields)))

    def sql_flush(self, style: Any, tables: Any, **options: bool) -> list[str]:
        """Flush append-only tables too, as tests do between each other: triggers stand aside."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
        return [
            *(f"DROP TRIGGER {self.quote_name(name)}" for name, _ in triggers),
            *super().sql_flush(style, tables, **options),
            *(sql for _, sql in triggers),
        ]


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that holds the write lock from BEGIN IMMEDIATE to COMMIT or ROLLBACK."""

    features_class = DatabaseFeatures
    ops_class = DatabaseOperations

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.write_lock: FileLock | None = None

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Open the database, and the lock file beside it."""
        connection = super().get_new_connection(conn_params)
        if not self.is_in_memory_db():
            path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
            self.write_lock = FileLock(path.with_name(path.name + ".write-lock"))
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        """Return a cursor whose single writing statements take the lock too."""
        return _LockingCursor(self)

    def acquire_write_lock(self) -> None:
        """Wait for the turn to write. Raises OperationalError after the connection's timeout."""
        timeout_s = self.settings_dict["OPTIONS"].get("timeout", 5)
        if self.write_lock and not self.write_lock.acquire(timeout_s):
            raise OperationalError(f"database is locked: no turn to write within {timeout_s} s")
        told().write_locked()  # a worker that is stopped here would stop every sign-up too

    def release_write_lock(self) -> None:
        """Let the next writer in."""
        if self.write_lock and self.write_lock.held:
            told().write_unlocked()
            self.write_lock.release()

    def _start_transaction_under_autocommit(self) -> None:
        self.acquire_write_lock()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # private
        except BaseException:
            self.release_write_lock()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self.release_write_lock()  # a failed COMMIT is followed by ROLLBACK, which releases

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self.release_write_lock()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self.release_write_lock()
            if self.write_lock:
                self.write_lock.close()


class _LockingCursor(base.SQLiteCursorWrapper):
    def __init__(self, wrapper: DatabaseWrapper) -> None:
        super().__init__(wrapper.connection)
        self.wrapper = wrapper

    def execute(self, query: str, params: Any = None) -> Any:
        if self._has_lock_or_needs_none(query):
            return super().execute(query, params)
        self.wrapper.acquire_write_lock()
        try:
            return super().execute(query, params)
        finally:
            self.wrapper.release_write_lock()

    def executemany(self, query: str, param_list: Any) -> Any:
        if self._has_lock_or_needs_none(query):
            return super().executemany(query, param_list)
        self.wrapper.acquire_write_lock()
        try:
            return super().executemany(query, param_list)
        finally:
            self.wrapper.release_write_lock()

    def _has_lock_or_needs_none(self, query: str) -> bool:
        lock = self.wrapper.write_lock
        return lock is None or lock.held or not _WRITES.match(query)
