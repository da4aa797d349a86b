"""Other systems' brokers: real servers, each with a subscriber that keeps what arrived.

All are reached over a link, which can be cut. What a broker holds in memory only is collected
before it is stopped.
"""

import asyncio
import json
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import nats
import pika
import pytest
import redis
import zmq
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from relay.transport import tls
from tests.faults.proxy import Link, link_to
from tests.relay import partner
from tests.relay.certificates import (
    NAME,
    certificate_for,
    context_with,
    name_this_machine,
    trust,
)
from tests.relay.tansu import ask_as_tansu_wants
from tests.servers.client import Server, new_server
from tests.servers.kafka import Kafka
from tests.servers.nats import Nats
from tests.servers.own import own_server
from tests.servers.process import HOST, free_port

EXCHANGE, QUEUE, TOPIC, STREAM = "usher", "crm", "usher", "usher"
PARTITIONS = 3

Linked = Callable[[str, int], AbstractContextManager[Any]]


class Broker(ABC):
    """A broker with a subscriber to registrations."""

    link: Link

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []  # ids and bodies, as they came

    @property
    @abstractmethod
    def url(self) -> str:
        """Return an endpoint's URL, over the link."""

    @abstractmethod
    def collect(self) -> None:
        """Add what has arrived since the last time to the messages."""

    @abstractmethod
    def stop(self) -> None:
        """Stop: its port refuses connections."""

    @abstractmethod
    def start(self) -> None:
        """Start again, on the same port."""


B = TypeVar("B", bound=Broker)


class RabbitMQBroker(Broker):
    """A durable queue at a topic exchange."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        with self._channel() as channel:
            channel.exchange_declare(EXCHANGE, "topic", durable=True)
            channel.queue_declare(QUEUE, durable=True)
            channel.queue_bind(QUEUE, EXCHANGE, "accounts.#")
            channel.queue_purge(QUEUE)

    @property
    def url(self) -> str:
        """Return an endpoint's URL, over the link."""
        return self.link.url(self._server.url)

    def collect(self) -> None:
        """Take all messages out of the queue."""
        with self._channel() as channel:
            while (found := channel.basic_get(QUEUE, auto_ack=True))[0] is not None:
                self.messages.append((found[1].message_id, found[2]))

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()

    def start(self) -> None:
        """Start the server."""
        self._server.start()

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        with pika.BlockingConnection(pika.URLParameters(self._server.url)) as connection:
            yield connection.channel()


class KafkaBroker(Broker):
    """A topic of some partitions, in memory."""

    def __init__(self, server: Kafka) -> None:
        super().__init__()
        self._server = server
        self._next: dict[int, int] = {}

    @property
    def url(self) -> str:
        """Return an endpoint's URL, over the link."""
        return self.link.url(self._server.url)

    def collect(self) -> None:
        """Read each partition on to its end."""
        asyncio.run(self._read())

    def stop(self) -> None:
        """Stop the server, which forgets everything."""
        self._next = {}
        self._server.stop()

    def start(self) -> None:
        """Start the server, and make the topic."""
        self._server.start()
        asyncio.run(make_topic(f"{HOST}:{self.link.port}", TOPIC))

    async def _read(self) -> None:
        reader = AIOKafkaConsumer(bootstrap_servers=f"{HOST}:{self.link.port}")
        await reader.start()
        try:
            partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
            reader.assign(partitions)
            ends = await reader.end_offsets(partitions)
            for partition in partitions:
                reader.seek(partition, self._next.get(partition.partition, 0))
            while any(self._next.get(p.partition, 0) < ends[p] for p in partitions):
                for partition, records in (await reader.getmany(timeout_ms=1000)).items():
                    for record in records:
                        self.messages.append((id_in(record.value), record.value))
                        self._next[partition.partition] = record.offset + 1
        finally:
            await reader.stop()


class NatsBroker(Broker):
    """A JetStream stream, on disk."""

    def __init__(self, server: Nats) -> None:
        super().__init__()
        self._server = server
        self._seen = 0
        asyncio.run(make_stream(server.url))

    @property
    def url(self) -> str:
        """Return an endpoint's URL, over the link."""
        return self.link.url(self._server.url)

    def collect(self) -> None:
        """Read the stream on to its end."""
        asyncio.run(self._read())

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()

    def start(self) -> None:
        """Start the server."""
        self._server.start()

    async def _read(self) -> None:
        client = await nats.connect(self._server.url)
        stream = client.jetstream()
        last = (await stream.stream_info(STREAM)).state.last_seq
        for number in range(self._seen + 1, last + 1):
            message = await stream.get_msg(STREAM, number)
            self.messages.append(((message.headers or {})["Nats-Msg-Id"], message.data or b""))
        self._seen = last
        await client.close()


class ValkeyBroker(Broker):
    """A Valkey's stream, in memory."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._last = "-"

    @property
    def url(self) -> str:
        """Return an endpoint's URL, over the link."""
        return self.link.url(self._server.url)

    def collect(self) -> None:
        """Read the stream on to its end."""
        with redis.Redis.from_url(self._server.url) as client:
            entries: Any = client.xrange(STREAM, self._last)
        for place, fields in entries:
            self._last = f"({place.decode()}"
            self.messages.append((fields[b"id"].decode(), fields[b"event"]))

    def stop(self) -> None:
        """Stop the server, which forgets everything."""
        self._last = "-"
        self._server.stop()

    def start(self) -> None:
        """Start the server."""
        self._server.start()


class ZeroMQBroker(Broker):
    """A REP socket that acknowledges what it gets, as docs/integrations.md shows."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.answer: Callable[[list[bytes]], list[bytes]] = lambda frames: [frames[0], b"ok"]
        self.received: list[list[bytes]] = []
        self.secret_key: bytes | None = None  # of CURVE
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Return an endpoint's URL, over the link."""
        return f"zmq+tcp://{HOST}:{self.link.port}"

    def collect(self) -> None:
        """Do nothing: messages are added as they come."""

    def stop(self) -> None:
        """Close the socket."""
        self._is_over.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def start(self) -> None:
        """Serve on the port."""
        self._is_over.clear()
        self._thread = threading.Thread(target=self._serve, name="zeromq")
        self._thread.start()

    def _serve(self) -> None:
        context = zmq.Context()
        with context.socket(zmq.REP) as socket:
            socket.linger = 0
            if self.secret_key:
                socket.curve_server = True
                socket.curve_secretkey = self.secret_key
            socket.bind(f"tcp://{HOST}:{self._port}")
            while not self._is_over.is_set():
                if socket.poll(20):
                    frames = socket.recv_multipart()
                    self.received.append(frames)
                    self.messages.append((frames[0].decode(), frames[-1]))
                    socket.send_multipart(self.answer(frames))
        context.destroy(linger=0)


class WebhookBroker(Broker):
    """A web server, with TLS or without: no broker, but it must bear the same."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._port = port
        self._tls = tls
        self._block = ExitStack()

    @property
    def url(self) -> str:
        """Return an endpoint's URL, over the link."""
        place = f"https://{NAME}" if self._tls else f"http://{HOST}"
        return f"{place}:{self.link.port}/hooks"

    def collect(self) -> None:
        """Do nothing: messages are added as they come."""

    def stop(self) -> None:
        """Close the server."""
        self._block.close()

    def start(self) -> None:
        """Serve on the port."""
        served = self._block.enter_context(partner.running(self._tls, self._port))
        served.answer = self._take

    def _take(self, handler: partner.Handler, received: partner.Received) -> None:
        if len(received.body) < int(received.headers["content-length"]):
            handler.close_connection = True  # the rest was cut off: this is no message
            return
        self.messages.append((received.headers["webhook-id"], received.body))
        handler.reply(204)


def id_in(body: bytes) -> str:
    """Return the id of an event in structured JSON."""
    return str(json.loads(body)["id"])


async def make_topic(bootstrap: str, topic: str, **security: Any) -> None:
    """Make a topic of some partitions, in a Tansu."""
    ask_as_tansu_wants()
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **security)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()


async def make_stream(url: str) -> None:
    """Make a stream that takes all of the relay's events."""
    client = await nats.connect(url)
    await client.jetstream().add_stream(name=STREAM, subjects=["usher.>"])
    await client.close()


@dataclass(frozen=True, slots=True)
class Direct:
    """No link: for those who measure, and cut nothing."""

    port: int

    def url(self, direct: str) -> str:
        """Return the server's own URL."""
        return direct


@contextmanager
def directly(host: str, port: int) -> Iterator[Any]:
    """Run a block with nothing between us and a server."""
    yield Direct(port)


@contextmanager
def _new_broker(
    kind: str, broker_of: Callable[[Server], Broker], linked: Linked = link_to
) -> Iterator[Broker]:
    """Run a server of the test's own."""
    server, discard = new_server(kind)
    with linked(HOST, server.port) as link:
        broker = broker_of(server)
        broker.link = link
        yield broker
    discard()


rabbitmq_broker = partial(_new_broker, "rabbitmq", RabbitMQBroker)
valkey_broker = partial(_new_broker, "valkey", ValkeyBroker)


@contextmanager
def kafka_broker(linked: Linked = link_to) -> Iterator[Broker]:
    """Run a broker that speaks Kafka's protocol, and sends its clients to the link."""
    with own_server(Kafka) as server, linked(HOST, server.port) as link:
        server.advertised = f"{HOST}:{link.port}"
        broker = KafkaBroker(server)
        broker.link = link
        broker.start()
        yield broker


@contextmanager
def nats_broker(linked: Linked = link_to) -> Iterator[Broker]:
    """Run a NATS."""
    with own_server(Nats) as server, linked(HOST, server.port) as link:
        server.start()
        broker = NatsBroker(server)
        broker.link = link
        yield broker


@contextmanager
def _listening_broker(broker_of: Callable[[int], B], linked: Linked = link_to) -> Iterator[B]:
    """Listen on a free port, in this process."""
    port = free_port()
    with linked(HOST, port) as link:
        broker = broker_of(port)
        broker.link = link
        broker.start()
        yield broker
        broker.stop()


zeromq_broker = partial(_listening_broker, ZeroMQBroker)
webhook_broker = partial(_listening_broker, WebhookBroker)


@contextmanager
def https_broker(linked: Linked = link_to) -> Iterator[Broker]:
    """Listen with a certificate of a name, which the relay trusts, and which leads here."""
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        certificate = certificate_for(NAME, Path(directory))
        trust(certificate, patch)
        name_this_machine(patch)
        broker_of = partial(WebhookBroker, tls=context_with(certificate))
        with _listening_broker(broker_of, linked) as broker:
            yield broker
    tls.cache_clear()
