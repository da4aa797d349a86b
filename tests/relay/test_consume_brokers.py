"""`manage.py consume` reads real brokers: RabbitMQ, and one that speaks Kafka's protocol."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pika
import pytest
from aiokafka import AIOKafkaProducer
from django.core.management import CommandError, call_command

from accounts.models import User
from accounts.signals import risk_decided
from events.models import Event
from relay import consuming
from relay.consuming import Reading, Tally, consume
from relay.parked import ParkedMessage
from relay.source import SourceLost, SourceRefused, source_of
from relay.sources import amqp
from tests.faults.proxy import Link, link_to
from tests.processes import ROOT, environment, wait_until
from tests.registrations import make_person
from tests.relay.brokers import make_topic
from tests.relay.test_consume import decision
from tests.servers import rabbitmq
from tests.servers.client import Server, new_server
from tests.servers.kafka import Kafka
from tests.servers.own import own_server
from tests.servers.process import HOST

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

NAME = "risk"
STRUCTURED = "application/cloudevents+json"


class Outside(ABC):
    """Another system's broker."""

    link: Link

    @property
    @abstractmethod
    def url(self) -> str:
        """Return what `consume` reads, over the link."""

    @abstractmethod
    def send(self, *bodies: bytes, attributes: dict[str, str] | None = None) -> None:
        """Put messages in: in structured mode, or with attributes, in binary mode."""


class OutsideRabbitMQ(Outside):
    """A durable queue."""

    def __init__(self, server: Server, link: Link) -> None:
        self.link, self._server = link, server
        with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
            connection.channel().queue_declare(NAME, durable=True)
            connection.channel().queue_purge(NAME)

    def declare(self, queue: str, **arguments: Any) -> None:
        """Make another queue."""
        with pika.BlockingConnection(pika.URLParameters(self._server.url)) as connection:
            connection.channel().queue_declare(queue, durable=True, arguments=arguments)

    @property
    def url(self) -> str:
        """Return what `consume` reads, over the link."""
        return f"{self.link.url(self._server.url)}?queue={NAME}"

    def send(self, *bodies: bytes, attributes: dict[str, str] | None = None) -> None:
        """Put messages into the queue."""
        headers = {f"cloudEvents:{name}": text for name, text in (attributes or {}).items()}
        properties = pika.BasicProperties(
            content_type="application/json" if attributes else STRUCTURED,
            headers=headers,
            delivery_mode=2,
        )
        with pika.BlockingConnection(pika.URLParameters(self._server.url)) as connection:
            channel = connection.channel()
            for body in bodies:
                channel.basic_publish("", NAME, body, properties)


class OutsideKafka(Outside):
    """A topic."""

    def __init__(self, link: Link) -> None:
        self.link = link
        asyncio.run(make_topic(f"{HOST}:{link.port}", NAME))

    @property
    def url(self) -> str:
        """Return what `consume` reads, over the link."""
        return f"kafka://{HOST}:{self.link.port}?topic={NAME}"

    def send(self, *bodies: bytes, attributes: dict[str, str] | None = None) -> None:
        """Put messages into the topic."""
        asyncio.run(self._send(bodies, attributes or {}))

    async def _send(self, bodies: tuple[bytes, ...], attributes: dict[str, str]) -> None:
        kind = "application/json" if attributes else STRUCTURED
        headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
        producer = AIOKafkaProducer(bootstrap_servers=f"{HOST}:{self.link.port}")
        await producer.start()
        for body in bodies:
            await producer.send_and_wait(
                NAME, body, headers=[("content-type", kind.encode()), *headers]
            )
        await producer.stop()


RABBITMQ = pytest.param(
    "rabbitmq",
    marks=pytest.mark.skipif(not rabbitmq.PROGRAM.exists(), reason=rabbitmq.MISSING),
)


@pytest.fixture(params=[RABBITMQ, "kafka"])
def outside(request: pytest.FixtureRequest) -> Iterator[Outside]:
    """Return each broker in turn."""
    with ExitStack() as stack:
        if request.param == "rabbitmq":
            server, discard = new_server("rabbitmq")
            stack.callback(discard)
            link = stack.enter_context(link_to(HOST, server.port))
            yield OutsideRabbitMQ(server, link)
        else:
            broker = stack.enter_context(own_server(Kafka))
            link = stack.enter_context(link_to(HOST, broker.port))
            broker.advertised = f"{HOST}:{link.port}"
            broker.start()
            yield OutsideKafka(link)


def body(person: User, number: int = 1) -> bytes:
    """Return a decision's event."""
    return json.dumps(decision(person, id=f"msg_{number}")).encode()


def read(outside: Outside) -> Tally:
    """Consume what is there."""
    return consume(Reading(url=outside.url, stop=threading.Event(), idle_s=2))


def published() -> list[Any]:
    """Return the reasons of the decisions that were published, in order."""
    rows = Event.objects.filter(type=risk_decided.type).order_by("position")
    return list(rows.values_list("data__user_id", flat=True))


def test_each_message_is_taken_once_and_what_is_none_is_parked(outside: Outside) -> None:
    person = make_person()
    outside.send(b"nonsense", body(person), body(person), body(person, 2))
    event = decision(person, id="msg_3")
    data = json.dumps(event.pop("data")).encode()
    outside.send(data, attributes=event)

    first, second = read(outside), read(outside)

    assert first == Tally(applied=3, repeated=1, parked=1)
    assert second == Tally()  # all of it is acknowledged
    assert ParkedMessage.objects.get().source == outside.url.partition("?")[0].replace(
        "guest:guest@", ""
    )


def test_all_are_taken_once_through_a_cut_in_their_midst(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "FIRST_WAIT_S", 0.1)
    people = [make_person() for _ in range(30)]
    outside.send(*[body(person, number) for number, person in enumerate(people)])
    take, taken = consuming._take, 0

    def cut_in_the_midst(*args: Any, **options: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == 15:
            outside.link.reset()
        return take(*args, **options)

    monkeypatch.setattr(consuming, "_take", cut_in_the_midst)

    tally = read(outside)

    assert (tally.applied, tally.parked) == (30, 0)
    assert sorted(published()) == sorted(str(person.pk) for person in people)


@pytest.mark.parametrize("outside", [RABBITMQ], indirect=True)
def test_a_dry_run_counts_what_the_broker_does_not_hand_out(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp, "PREFETCH", 3)
    outside.send(*[b"nonsense"] * 5)

    tally = consume(Reading(url=outside.url, stop=threading.Event(), idle_s=1, dry_run=True))

    assert tally == Tally(parked=3, not_looked_at=2)


@pytest.mark.parametrize("outside", [RABBITMQ], indirect=True)
def test_a_second_reader_of_a_queue_waits_until_the_first_has_gone(outside: Outside) -> None:
    """Two at once would apply what was decided about a person in another order."""
    outside.send(body(make_person()))
    connect = source_of(outside.url)
    reading = Reading(url=outside.url, stop=threading.Event(), dry_run=True)

    with connect() as first:
        first.take()
        with pytest.raises(SourceLost, match="Another program reads it"), connect() as second:
            second.take()
        with pytest.raises(SourceRefused, match="Another program reads it"):
            consume(reading)

    assert read(outside) == Tally(applied=1)


@pytest.mark.parametrize("outside", [RABBITMQ], indirect=True)
def test_a_queue_with_single_active_consumer_is_told(outside: OutsideRabbitMQ) -> None:
    outside.declare("sac", **{"x-single-active-consumer": True})
    url = outside.url.replace(f"={NAME}", "=sac")

    with pytest.raises(SourceRefused, match="the queue has x-single-active-consumer"):
        consume(Reading(url=url, stop=threading.Event(), dry_run=True))


def test_a_queue_or_topic_that_is_not_there_is_a_failure(outside: Outside) -> None:
    with pytest.raises(CommandError, match="elsewhere") as error:
        call_command("consume", outside.url.replace(f"={NAME}", "=elsewhere"), until_idle=1)

    assert error.value.returncode == 1


@pytest.mark.parametrize(
    "outside",
    [RABBITMQ, pytest.param("kafka", marks=pytest.mark.long)],  # Tansu's groups take their time
    indirect=True,
)
def test_sigterm_stops_it_cleanly(outside: Outside) -> None:
    person = make_person()
    outside.send(body(person))
    process = subprocess.Popen(
        [sys.executable, "manage.py", "consume", outside.url, "--json"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
    )
    wait_until(published)

    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert json.loads(out)["applied"] == 1
    assert read(outside) == Tally()
