"""RabbitMQ: amqp://user@host:5672/vhost?exchange=NAME, amqps:// with TLS. The exchange is theirs.

The routing key is the event's type without its version. A message counts when the broker has
confirmed it, and has routed it to a queue. (https://www.rabbitmq.com/docs/confirms)
"""

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPConnectionError, AMQPError, NackError, UnroutableError

from relay.addresses import AddressRefused, allowed_addresses
from relay.transport import (
    TOTAL_S,
    Destination,
    Failed,
    Message,
    Result,
    options,
    tls,
    unreachable,
)

SCHEMES = ("amqp", "amqps")
DEFAULT_EXCHANGE = "usher"
CONNECT_S = 5.0  # to all addresses of a host together
MAX_ADDRESSES = 3
BLOCKED_S = 5.0  # a broker short of memory or disk takes nothing for as long as it likes
HEARTBEAT_S = 2  # pika gives a silent broker up after 7 to 14 s

_PERSISTENT = 2
_PORTS = {"amqp": 5672, "amqps": 5671}


def check(url: SplitResult) -> None:
    """Refuse what is no place in a RabbitMQ. Raises BadURL."""
    _exchange(url)


def send(destination: Destination, batch: Sequence[Message]) -> list[Result]:
    """Publish the messages one after the other, each confirmed."""
    url, deadline = urlsplit(destination.url), time.monotonic() + TOTAL_S
    results: list[Result] = []
    try:
        with BlockingConnection(connection_parameters(url)) as connection:
            _end_at(deadline, connection)
            channel = connection.channel()
            channel.confirm_delivery()
            for message in batch:
                if time.monotonic() > destination.begin_until:
                    break
                results.append(_publish(channel, _exchange(url), message))
    except (AMQPError, OSError, AddressRefused) as error:
        if len(results) < len(batch):
            results.append(unreachable(url, error))
    return results


def _publish(channel: BlockingChannel, exchange: str, message: Message) -> Result:
    try:
        channel.basic_publish(
            exchange,
            message.type,
            message.body,
            pika.BasicProperties(
                message_id=message.id,
                content_type="application/cloudevents+json",
                delivery_mode=_PERSISTENT,
                headers={"partitionkey": message.key, **message.headers("cloudEvents:")},
            ),
            mandatory=True,
        )
    except UnroutableError:
        return Failed(text=f"The exchange {exchange!r} has no queue for {message.type}.")
    except NackError:
        return Failed(text="The broker refused the message.")
    return None


def _exchange(url: SplitResult) -> str:
    return options(url, exchange=DEFAULT_EXCHANGE)["exchange"]


def _end_at(deadline: float, connection: BlockingConnection) -> None:
    """Break a connection off at the deadline, also where its peer sends heartbeats and no more.

    A timer of BlockingConnection's own does not fire while it waits for a confirm; one of the
    connection below it does, which is how pika's limit for blocked connections works.
    """
    inner = connection._impl
    error = AMQPConnectionError(f"no complete answer within {TOTAL_S:g} s")
    inner._adapter_call_later(
        max(0, deadline - time.monotonic()), lambda: inner._terminate_stream(error)
    )


def connection_parameters(url: SplitResult) -> list[pika.ConnectionParameters]:
    """Return how to connect to checked addresses, of which the first that can be reached counts.

    Raises AddressRefused, and OSError.
    """
    deadline = time.monotonic() + CONNECT_S
    found = allowed_addresses(url.hostname or "", _port(url), deadline=deadline)[:MAX_ADDRESSES]
    limit_s = CONNECT_S / len(found)
    return [
        pika.ConnectionParameters(
            **connection_settings(url),
            host=address,
            socket_timeout=limit_s,
            stack_timeout=limit_s,
            blocked_connection_timeout=BLOCKED_S,
            heartbeat=HEARTBEAT_S,
        )
        for address in found
    ]


def connection_settings(url: SplitResult) -> dict[str, Any]:
    """Return what pika needs to know to connect, but the address and how long to wait."""
    settings: dict[str, Any] = {
        "port": _port(url),
        "virtual_host": unquote(url.path.removeprefix("/")) or "/",
        "credentials": pika.PlainCredentials(
            unquote(url.username or "guest"), unquote(url.password or "guest")
        ),
    }
    if url.scheme == "amqps":
        settings["ssl_options"] = pika.SSLOptions(tls(), url.hostname)
    return settings


def _port(url: SplitResult) -> int:
    return url.port or _PORTS[url.scheme]
