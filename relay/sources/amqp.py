"""A queue of RabbitMQ: amqp://user:password@host:5672/vhost?queue=NAME, or amqps://.

Messages are acknowledged when they are dealt with; whatever is not comes again, to whoever reads
the queue next. (https://www.rabbitmq.com/docs/confirms#consumer-acknowledgements)
"""

import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult, unquote

import pika
from django.utils.translation import gettext as _
from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from relay.source import WAIT_S, Incoming, SourceLost, SourceRefused, unreadable
from relay.transport import BadURL, options

SCHEMES = ("amqp", "amqps")
PREFETCH = 100
CONNECT_S = 10.0
HEARTBEAT_S = 10

_PORTS = {"amqp": 5672, "amqps": 5671}
_PREFIXES = ("cloudEvents:", "cloudEvents_")


def check(url: SplitResult) -> None:
    """Refuse what names no queue. Raises BadURL."""
    if not _queue(url):
        raise BadURL(_("Name the queue by ?queue=."))


class Source:
    """A queue that is read."""

    def __init__(self, url: SplitResult) -> None:
        self._url = url
        self._queue = _queue(url)

    def __enter__(self) -> "Source":
        """Connect. Raises SourceLost and SourceRefused."""
        try:
            self._connection = BlockingConnection(_parameters(self._url))
        except (ProbableAuthenticationError, ProbableAccessDeniedError) as error:
            raise SourceRefused(f"{type(error).__name__}: {error}") from error
        except (AMQPError, OSError) as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from error
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._messages = self._channel.consume(self._queue, inactivity_timeout=WAIT_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go: what is not acknowledged comes again."""
        if self._connection.is_open:
            try:
                self._connection.close()
            except (AMQPError, OSError):
                return  # it is gone, which is what was asked for

    def take(self) -> Sequence[Incoming]:
        """Return the next message, if there is one in time."""
        try:
            method, properties, body = next(self._messages)
        except StopIteration:
            raise SourceLost("the broker ended the subscription") from None
        except ChannelClosedByBroker as error:
            raise SourceRefused(error.reply_text) from error
        except (AMQPError, OSError) as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from error
        if method is None:
            return []
        return [_incoming(self._queue, method, properties, body)]

    def acknowledge(self, incoming: Sequence[Incoming]) -> None:
        """Acknowledge messages."""
        try:
            for each in incoming:
                self._channel.basic_ack(each.tag)
        except (AMQPError, OSError) as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from error


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
    secured: dict[str, Any] = {}
    if url.scheme == "amqps":
        secured["ssl_options"] = pika.SSLOptions(ssl.create_default_context(), url.hostname)
    return pika.ConnectionParameters(
        host=url.hostname,
        port=url.port or _PORTS[url.scheme],
        virtual_host=unquote(url.path.removeprefix("/")) or "/",
        credentials=pika.PlainCredentials(
            unquote(url.username or "guest"), unquote(url.password or "guest")
        ),
        socket_timeout=CONNECT_S,
        stack_timeout=CONNECT_S,
        heartbeat=HEARTBEAT_S,
        **secured,
    )
