"""PostgreSQL as the web sees it: an answer within some seconds, or none at all.

A server that hangs, behind a link that swallows packets or stopped by its machine, refuses nothing:
libpq waits for its answer as long as TCP does, which is for ever. No setting of the server can end
that wait, so the client does.
"""

from typing import Any, TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

T = TypeVar("T")

ANSWER_WITHIN_S = 5.0
LOOK_EVERY_S = 0.1  # as often does psycopg look whether it was interrupted


class ServerSilent(OperationalError):
    """The server was asked and did not answer. Whether it did what it was asked is not known."""

    def __init__(self) -> None:
        super().__init__(f"connection given up: no answer within {ANSWER_WITHIN_S:g} s")


class TimedConnection(Connection[Any]):
    """A connection that is given up when the server stays silent."""

    def wait(
        self, gen: PQGen[T], interval: float = LOOK_EVERY_S, timeout: float | None = None
    ) -> T:
        """Wait for one answer of the server. Raises ServerSilent after ANSWER_WITHIN_S."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, ANSWER_WITHIN_S)
        except _WaitTimeout:
            self.pgconn.finish()  # an answer that comes late must not be taken for the next one's
            raise ServerSilent from None
