"""PostgreSQL as the web sees it: an answer within some seconds, or none at all.

A server that hangs, behind a link that swallows packets or stopped by its machine, refuses nothing:
libpq waits for its answer as long as TCP does, which is for ever. No setting of the server can end
that wait, so the client does.
"""

from typing import Any, Self, TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from psycopg_pool import ConnectionPool

T = TypeVar("T")

ANSWER_WITHIN_S = 5.0
CONNECTION_WITHIN_S = 5.0  # a burst of requests waits its turn
CONNECTION_IN_OUTAGE_WITHIN_S = 0.5  # requests must not pile up for the moment of its return
LOOK_EVERY_S = 0.1  # as often does psycopg look whether it was interrupted


class ServerSilent(OperationalError):
    """The server was asked and did not answer. Whether it did what it was asked is not known."""

    def __init__(self) -> None:
        super().__init__(f"connection given up: no answer within {ANSWER_WITHIN_S:g} s")


_pools_in_outage: "set[ConnectionPool[Any]]" = set()


def no_connection(pool: "ConnectionPool[Any]") -> None:
    """Have requests wait shortly only, until a connection succeeds (called by the pool)."""
    _pools_in_outage.add(pool)
    pool.timeout = CONNECTION_IN_OUTAGE_WITHIN_S


class TimedConnection(Connection[Any]):
    """A connection that is given up when the server stays silent."""

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """Connect, and end the outage where there was one."""
        connection = super().connect(*args, **kwargs)
        for pool in list(_pools_in_outage):  # other threads may do the same
            pool.timeout = CONNECTION_WITHIN_S
            _pools_in_outage.discard(pool)
        return connection

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
