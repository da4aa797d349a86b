"""End the session of this very test in the database, at a chosen statement (PostgreSQL)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import psycopg
from django.db import DatabaseError, connection

from tests.processes import database_url, wait_until


class Cut:
    """How many statements a block has sent, and whether its session was ended."""

    def __init__(self, before: int) -> None:
        """Take the number of the statement, from 1; a COMMIT counts as one."""
        self.before = before
        self.sent = 0
        self.is_made = False

    def pass_statement(self) -> None:
        """Count a statement that is about to be sent, and end the session if it is the one."""
        self.sent += 1
        if self.sent == self.before:
            self.is_made = True
            _terminate(connection.connection.info.backend_pid)


@contextmanager
def session_ended_before(number: int) -> Iterator[Cut]:
    """End the session of the test's connection before the n-th statement of a block.

    The DatabaseError that follows from it does not leave the block.
    """
    cut = Cut(number)
    commit = connection._commit  # type: ignore[attr-defined]

    def execute(run: Any, *statement: Any) -> Any:
        cut.pass_statement()
        return run(*statement)

    def counted_commit() -> None:
        if connection.connection is not None:
            cut.pass_statement()
        commit()

    connection.ensure_connection()
    with (
        mock.patch.object(connection, "_commit", counted_commit),
        connection.execute_wrapper(execute),
        suppress(DatabaseError),
    ):
        yield cut
    connection.close_if_unusable_or_obsolete()
    connection.close()


def _terminate(pid: int) -> None:
    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        find = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: other.execute(find, [pid]).fetchone() is None)
