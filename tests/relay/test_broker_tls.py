"""Brokers over TLS: encrypted, and only to one whose certificate is that of its name."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from events.models import Attempt, Delivery, DeliveryState
from relay.transport import tls
from tests.conftest import Drain
from tests.faults.proxy import link_to
from tests.relay.brokers import TOPIC, RabbitMQBroker, make_stream, make_topic
from tests.relay.certificates import (
    NAME,
    certificate_for,
    context_with,
    name_this_machine,
    trust,
)
from tests.relay.conftest import Register, Subscribe
from tests.servers import rabbitmq
from tests.servers.client import new_server
from tests.servers.kafka import Kafka
from tests.servers.nats import Nats
from tests.servers.own import own_server
from tests.servers.process import HOST, hand_over

pytestmark = pytest.mark.django_db(transaction=True)

Serve = Callable[[ExitStack, Path], str]


def serve_valkey(stack: ExitStack, certificate: Path) -> str:
    """Run a Valkey behind TLS; return its URL."""
    server, discard = new_server("valkey")
    stack.callback(discard)
    link = stack.enter_context(link_to(HOST, server.port, context_with(certificate)))
    return f"rediss://{NAME}:{link.port}/0"


def serve_rabbitmq(stack: ExitStack, certificate: Path) -> str:
    """Run a RabbitMQ behind TLS; return its URL."""
    server, discard = new_server("rabbitmq")
    stack.callback(discard)
    RabbitMQBroker(server)
    link = stack.enter_context(link_to(HOST, server.port, context_with(certificate)))
    return f"amqps://guest:guest@{NAME}:{link.port}/"


def serve_kafka(stack: ExitStack, certificate: Path) -> str:
    """Run a broker of Kafka's protocol behind TLS; return its URL."""
    server = stack.enter_context(own_server(Kafka))
    link = stack.enter_context(link_to(HOST, server.port, context_with(certificate)))
    server.advertised = f"{NAME}:{link.port}"
    server.start()
    anybody = ssl.create_default_context(cafile=certificate)
    anybody.check_hostname = False
    security = {"security_protocol": "SSL", "ssl_context": anybody}
    asyncio.run(make_topic(f"{NAME}:{link.port}", TOPIC, **security))
    return f"kafkas://{NAME}:{link.port}"


def serve_nats(stack: ExitStack, certificate: Path) -> str:
    """Run a NATS that speaks TLS; return its URL."""
    server = stack.enter_context(own_server(Nats))
    server.start()
    asyncio.run(make_stream(server.url))
    server.stop()
    own = server.directory / certificate.name
    own.write_bytes(certificate.read_bytes())
    hand_over(own)
    server.certificate = own
    server.start()
    return f"nats+tls://{NAME}:{server.port}"


SERVERS = [
    pytest.param(serve_valkey, id="valkey"),
    pytest.param(
        serve_rabbitmq,
        id="rabbitmq",
        marks=[
            pytest.mark.faults,  # it takes long to start
            pytest.mark.skipif(not rabbitmq.PROGRAM.exists(), reason=rabbitmq.MISSING),
        ],
    ),
    pytest.param(serve_kafka, id="kafka"),
    pytest.param(serve_nats, id="nats"),
]
each_server = pytest.mark.parametrize("serve", SERVERS)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """Return what ends servers; the name leads to this machine meanwhile."""
    name_this_machine(monkeypatch)
    with ExitStack() as stack:
        yield stack
    tls.cache_clear()


@each_server
def test_an_event_is_sent_to_the_name_at_the_checked_address(
    drain: Drain,
    subscribe: Subscribe,
    register: Register,
    serve: Serve,
    stack: ExitStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate = certificate_for(NAME, tmp_path)
    subscribe(serve(stack, certificate))
    trust(certificate, monkeypatch)
    register()

    drain()

    assert not Attempt.objects.exists(), Attempt.objects.get().error_message
    assert Delivery.objects.get(receiver="relay.send").state == DeliveryState.DONE


@each_server
def test_a_certificate_of_another_name_is_refused(
    drain: Drain,
    subscribe: Subscribe,
    register: Register,
    serve: Serve,
    stack: ExitStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate = certificate_for("other.example", tmp_path)
    subscribe(serve(stack, certificate))
    trust(certificate, monkeypatch)
    register()

    drain()

    assert Delivery.objects.get(receiver="relay.send").state == DeliveryState.PENDING
    assert Attempt.objects.exists()
