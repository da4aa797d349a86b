"""A queue of RabbitMQ: amqp://user:password@host:5672/vhost?queue=NAME, or amqps://.

Messages are acknowledged when they are dealt with; whatever is not comes again, to whoever reads
the queue next. (https://www.rabbitmq.com/docs/confirms#consumer-acknowledgements) One reads at a
time, for order's sake. (https://www.rabbitmq.com/docs/consumers#exclusivity)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult

import pika
from django.utils.translation import gettext as _
from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from relay.source import (
    WAIT_S,
    Connection,
    Incoming,
    SourceInUse,
    SourceLost,
    SourceRefused,
    unreadable,
)
from relay.transport import BadURL, options
from relay.transports.amqp import connection_settings

SCHEMES = ("amqp", "amqps")
PREFETCH = 100
CONNECT_S = 10.0
HEARTBEAT_S = 10
ACCESS_REFUSED, NOT_FOUND = 403, 404
IN_USE = (
    "Another program reads it, and only one may, so that what is decided about a person stays in "
    "order (or the queue has x-single-active-consumer, which it must not have)"
)

_REFUSALS = (ACCESS_REFUSED, NOT_FOUND)  # all others may pass
_PREFIXES = ("cloudEvents:", "cloudEvents_")


def check(url: SplitResult) -> None:
    """Refuse what names no queue. Raises BadURL."""
    if not _queue(url):
        raise BadURL(_("Name the queue by ?queue=."))


class Source(Connection):
    """A queue that is read."""

    def __init__(self, url: SplitResult) -> None:
        self._url = url
        self._queue = _queue(url)
        self._connection: BlockingConnection | None = None

    def take(self) -> Sequence[Incoming]:
        """Return the next message, if there is one in time."""
        with _broker_errors():
            found = next(self._messages, None)
        if found is None:
            raise SourceLost("the broker ended the subscription")
        method, properties, body = found
        if method is None:
            return []
        return [_incoming(self._queue, method, properties, body)]

    def left(self) -> int:
        """Return how many messages are in the queue beyond those that were handed to us."""
        with _broker_errors():
            declared = self._channel.queue_declare(self._queue, passive=True)
        count: int = declared.method.message_count
        return count

    def acknowledge(self, incoming: Sequence[Incoming]) -> None:
        """Acknowledge messages."""
        with _broker_errors():
            for each in incoming:
                self._channel.basic_ack(each.tag)

    def _open(self) -> None:
        with _broker_errors():
            self._connection = BlockingConnection(_parameters(self._url))
            self._channel = self._connection.channel()
            self._channel.basic_qos(prefetch_count=PREFETCH)
            self._messages = self._channel.consume(
                self._queue, exclusive=True, inactivity_timeout=WAIT_S
            )

    def _close(self) -> None:
        if self._connection and self._connection.is_open:
            try:
                self._connection.close()
            except (AMQPError, OSError):
                return  # it is gone, which is what was asked for


@contextmanager
def _broker_errors() -> Iterator[None]:
    """Run a block; raise what pika raises in it as SourceRefused or SourceLost."""
    try:
        yield
    except ChannelClosedByBroker as error:
        raise _closed(error) from error
    except (ProbableAuthenticationError, ProbableAccessDeniedError) as error:
        raise SourceRefused(f"{type(error).__name__}: {error}") from error
    except (AMQPError, OSError) as error:
        raise SourceLost(f"{type(error).__name__}: {error}") from error


def _closed(error: ChannelClosedByBroker) -> SourceLost | SourceRefused:
    """Return what it means that the broker closed the channel."""
    if error.reply_code == ACCESS_REFUSED and "exclusive use" in error.reply_text:
        return SourceInUse(IN_USE)
    if error.reply_code in _REFUSALS:
        return SourceRefused(error.reply_text)
    return SourceLost(error.reply_text)


def _incoming(queue: str, method: Any, properties: Any, body: bytes) -> Incoming:
    try:
        attributes = _attributes(properties.headers or {})
    except Exception as error:  # whatever it is, it must not hold up those behind it
        return unreadable(error, place=queue, body=body, tag=method.delivery_tag)
    return Incoming(
        place=queue,
        content_type=str(properties.content_type or ""),  # bytes where it is no UTF-8
        attributes=attributes,
        body=body,
        tag=method.delivery_tag,
    )


def _attributes(headers: dict[str, Any]) -> dict[str, str]:
    return {
        name.removeprefix(prefix): str(value)
        for name, value in headers.items()
        for prefix in _PREFIXES
        if name.startswith(prefix)
    }


def _queue(url: SplitResult) -> str:
    return options(url, queue="")["queue"]


def _parameters(url: SplitResult) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        **connection_settings(url),
        host=url.hostname,
        socket_timeout=CONNECT_S,
        stack_timeout=CONNECT_S,
        heartbeat=HEARTBEAT_S,
    )
