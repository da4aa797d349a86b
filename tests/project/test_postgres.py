"""The web's connections: given up where the server is silent, refused soon where it is away."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from project import postgres
from project.postgres import (
    CONNECTION_IN_OUTAGE_WITHIN_S,
    CONNECTION_WITHIN_S,
    ServerSilent,
    TimedConnection,
    no_connection,
)
from tests.processes import wait_until
from tests.servers.client import Server, paused, stopped

pytestmark = pytest.mark.faults


def parameters(server: Server) -> dict[str, Any]:
    """Return what connects to a server."""
    url = urlsplit(server.url)
    return {
        "host": url.hostname,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.path.strip("/"),
        "connect_timeout": 2,
    }


@pytest.fixture
def pool(private_postgres: Server) -> Iterator["ConnectionPool[TimedConnection]"]:
    """Return a pool as the web's, which gives up sooner."""
    with closing(
        ConnectionPool(
            connection_class=TimedConnection,
            kwargs={**parameters(private_postgres), "autocommit": True},
            check=ConnectionPool.check_connection,
            min_size=1,
            timeout=CONNECTION_WITHIN_S,
            reconnect_timeout=0.1,
            reconnect_failed=no_connection,
            open=True,
        )
    ) as pool:
        pool.wait()
        yield pool


def answers(pool: "ConnectionPool[TimedConnection]") -> bool:
    """Tell whether a query is answered."""
    try:
        with pool.connection() as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def test_a_query_that_is_not_answered_is_given_up_with_its_connection(
    private_postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "ANSWER_WITHIN_S", 0.2)
    with TimedConnection.connect(**parameters(private_postgres), autocommit=True) as connection:
        with paused(private_postgres), pytest.raises(ServerSilent):
            connection.execute("SELECT 1")

        assert connection.closed


def test_during_an_outage_requests_wait_shortly_and_after_it_as_long_as_before(
    private_postgres: Server, pool: "ConnectionPool[TimedConnection]"
) -> None:
    with stopped(private_postgres):
        wait_until(lambda: not answers(pool) and pool.timeout == CONNECTION_IN_OUTAGE_WITHIN_S)

    wait_until(lambda: answers(pool))

    assert pool.timeout == CONNECTION_WITHIN_S
