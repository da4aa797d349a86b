"""Whatever a RabbitMQ does to who reads it, `consume` knows whether to try again."""

from collections.abc import Iterator
from typing import Any

import pytest
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker

from relay.source import SourceLost, SourceRefused, source_of
from relay.sources import amqp

URL = "amqp://b.example?queue=risk"
FORCED = ConnectionClosedByBroker(320, "CONNECTION_FORCED")


class Connection:
    """A connection whose channel fails as a test says."""

    def __init__(self, *, opening: Exception | None = None, taking: Exception | None = None):
        self.is_open = True
        self._opening, self._taking = opening, taking

    def channel(self) -> "Connection":
        """Return a channel: this."""
        return self

    def basic_qos(self, prefetch_count: int) -> None:
        """Fail where the test says so."""
        if self._opening:
            raise self._opening

    def consume(self, queue: str, **options: Any) -> Iterator[Any]:
        """Fail where the test says so."""
        if self._taking:
            raise self._taking
        yield

    def close(self) -> None:
        """Close."""
        self.is_open = False


def read_from(monkeypatch: pytest.MonkeyPatch, connection: Connection) -> None:
    """Take a message."""
    monkeypatch.setattr(amqp, "BlockingConnection", lambda parameters: connection)
    with source_of(URL)() as source:
        source.take()


@pytest.mark.parametrize(
    "error", [FORCED, ChannelClosedByBroker(500, "INTERNAL_ERROR"), AMQPError("odd"), OSError()]
)
def test_a_broker_that_goes_away_while_we_connect_is_lost_and_left(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    connection = Connection(opening=error)

    with pytest.raises(SourceLost):
        read_from(monkeypatch, connection)

    assert not connection.is_open


@pytest.mark.parametrize(
    "error",
    [
        FORCED,
        ChannelClosedByBroker(406, "PRECONDITION_FAILED - delivery acknowledgement timed out"),
        ChannelClosedByBroker(405, "RESOURCE_LOCKED"),
        ChannelClosedByBroker(500, "INTERNAL_ERROR"),
    ],
)
def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with pytest.raises(SourceLost):
        read_from(monkeypatch, Connection(taking=error))


@pytest.mark.parametrize(
    "error",
    [
        ChannelClosedByBroker(403, "ACCESS_REFUSED - access to queue 'risk' refused"),
        ChannelClosedByBroker(404, "NOT_FOUND - no queue 'risk'"),
    ],
)
def test_what_lasts_is_a_refusal(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with pytest.raises(SourceRefused, match="risk"):
        read_from(monkeypatch, Connection(taking=error))
