"""Events reach a real RabbitMQ: confirmed, routed, in order, and through a restart of it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest

from events.context import correlated
from events.delivery.drain import drain as drain_queue
from events.models import Attempt, Delivery, DeliveryState
from relay.endpoints import Endpoint
from relay.sending import body_of
from relay.transport import TOTAL_S
from relay.transports import amqp
from tests.conftest import Drain
from tests.faults.proxy import link_to
from tests.probe.observe import make_due
from tests.processes import wait_until
from tests.relay.arrivals import check_arrivals, register_many
from tests.relay.conftest import CORRELATION_ID, Register, Subscribe, attributes_in
from tests.servers import rabbitmq
from tests.servers.own import own_server
from tests.servers.process import HOST
from tests.servers.rabbitmq import RabbitMQ

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not rabbitmq.PROGRAM.exists(), reason=rabbitmq.MISSING),
]

EXCHANGE, QUEUE = "usher", "crm"


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    """Return a RabbitMQ of these tests' own: it takes long to start."""
    with own_server(RabbitMQ) as server:
        server.start()
        yield server


@pytest.fixture
def channel(broker: RabbitMQ) -> Iterator[Any]:
    """Return a channel of a subscriber whose queue gets all registrations, empty at first."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_bind(QUEUE, EXCHANGE, "accounts.user_registered")
        channel.queue_purge(QUEUE)
        yield channel


def arrived(broker: RabbitMQ) -> list[tuple[Any, Any, bytes]]:
    """Take all messages out of the queue."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel, messages = connection.channel(), []
        while (message := channel.basic_get(QUEUE, auto_ack=True))[0] is not None:
            messages.append(message)
    return messages


def test_an_event_arrives_with_its_id_under_its_type(
    drain: Drain, broker: RabbitMQ, channel: Any, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url)
    event = register()

    drain()

    [(method, properties, body)] = arrived(broker)
    assert method.routing_key == "accounts.user_registered"
    assert properties.message_id == str(event.id)
    assert properties.delivery_mode == 2
    assert body == body_of(event)


def test_an_events_attributes_are_headers_too(
    drain: Drain, broker: RabbitMQ, channel: Any, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url)
    with correlated(CORRELATION_ID):
        event = register()

    drain()

    [(_, properties, body)] = arrived(broker)
    assert properties.content_type == "application/cloudevents+json"
    assert properties.headers == {
        "partitionkey": event.key,
        **attributes_in(body, "cloudEvents:"),
    }
    assert properties.headers["cloudEvents:correlationid"] == CORRELATION_ID


def test_the_next_address_is_tried_where_one_can_not_be_reached(
    drain: Drain,
    broker: RabbitMQ,
    channel: Any,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = ["127.0.0.9", HOST]
    monkeypatch.setattr(amqp, "allowed_addresses", lambda *args, **options: found)
    subscribe(broker.url)
    event = register()

    drain()

    assert [body for _, _, body in arrived(broker)] == [body_of(event)]


def test_all_addresses_together_are_given_no_longer_than_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [f"203.0.113.{number}" for number in range(9)]
    monkeypatch.setattr(amqp, "allowed_addresses", lambda *args, **options: found)

    parameters = amqp.connection_parameters(urlsplit("amqp://b.example"))

    assert [each.host for each in parameters] == found[: amqp.MAX_ADDRESSES]
    assert sum(each.stack_timeout for each in parameters) <= amqp.CONNECT_S


def test_what_no_queue_takes_is_a_failed_attempt(
    drain: Drain, broker: RabbitMQ, channel: Any, subscribe: Subscribe, register: Register
) -> None:
    channel.queue_unbind(QUEUE, EXCHANGE, "accounts.user_registered")
    subscribe(broker.url)
    register()

    drain()

    assert "has no queue for accounts.user_registered" in Attempt.objects.get().error_message


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("/", "/?exchange=elsewhere"), "NOT_FOUND"),
        (("guest:guest", "guest:wrong"), "ACCESS_REFUSED"),
    ],
)
def test_a_broker_that_refuses_is_a_failed_attempt_that_tells_no_password(
    drain: Drain,
    broker: RabbitMQ,
    channel: Any,
    subscribe: Subscribe,
    register: Register,
    change: tuple[str, str],
    sentence: str,
) -> None:
    head, _, tail = broker.url.rpartition(change[0])
    subscribe(head + change[1] + tail)
    register()

    drain()

    attempt = Attempt.objects.get()
    assert sentence in attempt.error_message
    assert "wrong" not in attempt.error_message + attempt.traceback


def test_a_broker_that_confirms_nothing_is_left_at_the_deadline(
    drain: Drain,
    broker: RabbitMQ,
    channel: Any,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish = amqp._publish
    with link_to(HOST, broker.port) as link:

        def swallow(*args: Any) -> Any:
            link.conditions.is_black_hole = True
            return publish(*args)

        monkeypatch.setattr(amqp, "_publish", swallow)
        monkeypatch.setattr(amqp, "TOTAL_S", 1.0)  # before heartbeats would tell
        subscribe(link.url(broker.url))
        register()

        drain()

    assert "no complete answer within 1 s" in Attempt.objects.get().error_message


def test_a_broker_that_blocks_is_left_in_time_and_gets_the_event_afterwards(
    drain: Drain,
    broker: RabbitMQ,
    channel: Any,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(amqp, "BLOCKED_S", 1.0)
    subscribe(broker.url, schedule_s=[0, 60])
    event = register()

    with broker.blocking():
        drain()

    attempt = Attempt.objects.get()
    assert "ConnectionBlockedTimeout" in attempt.error_message
    assert (attempt.ended_at - attempt.started_at).total_seconds() < TOTAL_S

    def is_sent() -> bool:
        Endpoint.objects.update(rests_until=None)
        make_due()
        drain()
        return Delivery.objects.get(receiver="relay.send").state == DeliveryState.DONE

    wait_until(is_sent)
    # Once or twice: what it was sent while it blocked, it may have taken after all.
    assert {body for _, _, body in arrived(broker)} == {body_of(event)}


@pytest.mark.faults
@pytest.mark.long
def test_all_events_arrive_through_a_restart_in_their_midst(
    broker: RabbitMQ, channel: Any, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel.connection.close()
    subscribe(broker.url, schedule_s=[0], max_attempts=50)
    events = register_many()
    published = 0
    publish = amqp._publish

    def stop_in_the_midst(*args: Any) -> Any:
        nonlocal published
        published += 1
        if published == len(events) // 3:
            broker.stop()
        return publish(*args)

    monkeypatch.setattr(amqp, "_publish", stop_in_the_midst)
    while published < len(events) // 3:
        drain_queue("relay")  # a busy machine takes longer than one drain's budget
    unsent = Delivery.objects.exclude(state=DeliveryState.DONE).filter(receiver="relay.send")
    assert 0 < unsent.count() < len(events)
    broker.start()

    def all_is_sent() -> bool:
        Endpoint.objects.update(rests_until=None)
        make_due()
        drain_queue("relay")
        return not unsent.exists()

    wait_until(all_is_sent, timeout_s=120)

    messages = arrived(broker)
    check_arrivals(events, [(p.message_id, body) for _, p, body in messages])
