"""RabbitMQ: amqp://user@host:5672/vhost?exchange=NAME. What is published must exist there.

The routing key is the event's type. A message counts when the broker has confirmed it, and has
routed it to a queue. (https://www.rabbitmq.com/docs/confirms)
"""

import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError, NackError, UnroutableError

from relay.addresses import AddressRefused, allowed_addresses
from relay.transport import Destination, Failed, Message, Result

SCHEMES = ("amqp", "amqps")
DEFAULT_EXCHANGE = "usher"
CONNECT_S = 5.0
BLOCKED_S = 5.0  # a broker short of memory or disk takes nothing for as long as it likes
HEARTBEAT_S = 2  # pika gives a silent broker up after 7 to 14 s

_PERSISTENT = 2
_PORTS = {"amqp": 5672, "amqps": 5671}


def send(destination: Destination, batch: Sequence[Message]) -> list[Result]:
    """Publish the messages one after the other, each confirmed."""
    url = urlsplit(destination.url)
    results: list[Result] = []
    try:
        with BlockingConnection(_parameters(url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for message in batch:
                if time.monotonic() > destination.begin_until:
                    break
                results.append(_publish(channel, _exchange(url), message))
    except (AMQPError, OSError, AddressRefused) as error:
        if len(results) < len(batch):
            text = f"{url.hostname}: {type(error).__name__}: {error}"
            results.append(Failed(text=text, is_unreachable=True))
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
                headers={"partitionkey": message.key},
            ),
            mandatory=True,
        )
    except UnroutableError:
        return Failed(text=f"The exchange {exchange!r} has no queue for {message.type}.")
    except NackError:
        return Failed(text="The broker refused the message.")
    return None


def _exchange(url: SplitResult) -> str:
    return parse_qs(url.query).get("exchange", [DEFAULT_EXCHANGE])[0]


def _parameters(url: SplitResult) -> pika.ConnectionParameters:
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    address = allowed_addresses(host, port, deadline=time.monotonic() + CONNECT_S)[0]
    tls: dict[str, Any] = {}
    if url.scheme == "amqps":
        tls["ssl_options"] = pika.SSLOptions(ssl.create_default_context(), host)
    return pika.ConnectionParameters(
        host=address,
        port=port,
        virtual_host=unquote(url.path.removeprefix("/")) or "/",
        credentials=pika.PlainCredentials(
            unquote(url.username or "guest"), unquote(url.password or "guest")
        ),
        socket_timeout=CONNECT_S,
        stack_timeout=CONNECT_S,
        blocked_connection_timeout=BLOCKED_S,
        heartbeat=HEARTBEAT_S,
        **tls,
    )
