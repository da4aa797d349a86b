"""Events reach a real broker by Kafka's protocol: keyed, acknowledged, at checked addresses."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from django.core.exceptions import ValidationError
from pytest_django import Settings

from events.context import correlated
from events.models import Attempt, Delivery, DeliveryState
from relay.sending import body_of
from relay.transports import kafka
from relay.validation import clean_location
from tests.conftest import Drain
from tests.registrations import make_person
from tests.relay.brokers import PARTITIONS, TOPIC, KafkaBroker, kafka_broker
from tests.relay.conftest import CORRELATION_ID, Register, Subscribe, attributes_in
from tests.servers.process import HOST

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """Return a broker with a topic."""
    with kafka_broker() as broker:
        yield cast(KafkaBroker, broker)


def records(broker: KafkaBroker) -> list[Any]:
    """Return all records of the topic."""
    return asyncio.run(_read(f"{HOST}:{broker.link.port}"))


async def _read(bootstrap: str) -> list[Any]:
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await reader.start()
    partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    reader.assign(partitions)
    await reader.seek_to_beginning(*partitions)
    missing = sum((await reader.end_offsets(partitions)).values())
    found: list[Any] = []
    while len(found) < missing:
        for batch in (await reader.getmany(timeout_ms=1000)).values():
            found += batch
    await reader.stop()
    return found


def test_an_event_arrives_under_its_persons_key(
    drain: Drain, broker: KafkaBroker, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url)
    event = register()

    drain()

    [record] = records(broker)
    assert record.key == event.key.encode()
    assert record.value == body_of(event)
    assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")
    assert Delivery.objects.get(receiver="relay.send").state == DeliveryState.DONE


def test_an_events_attributes_are_headers_too(
    drain: Drain, broker: KafkaBroker, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url)
    with correlated(CORRELATION_ID):
        register()

    drain()

    [record] = records(broker)
    headers = {name: value.decode() for name, value in record.headers}
    del headers["content-type"]
    assert headers == attributes_in(record.value, "ce_")
    assert headers["ce_correlationid"] == CORRELATION_ID


def test_a_persons_events_stay_in_one_partition_in_order(
    drain: Drain, broker: KafkaBroker, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url)
    people = [make_person() for _ in range(4)]
    events = [register(people[number % 4]) for number in range(12)]

    drain()

    for person in people:
        mine = [r for r in records(broker) if r.key == str(person.pk).encode()]
        assert len({record.partition for record in mine}) == 1
        assert [r.value for r in mine] == [body_of(e) for e in events if e.key == str(person.pk)]


def test_a_broker_that_sends_its_clients_into_our_networks_is_not_followed(
    drain: Drain,
    broker: KafkaBroker,
    subscribe: Subscribe,
    register: Register,
    settings: Settings,
) -> None:
    """The broker may be called; where it says that the partitions' leaders are may not."""
    broker.stop()
    broker._server.advertised = "127.0.0.2:9"
    broker._server.start()
    settings.RELAY_ALLOWED_NETWORKS = ["127.0.0.1/32"]
    subscribe(broker.url)
    register()

    drain()

    assert "127.0.0.2 has no public address" in Attempt.objects.get().error_message


def test_a_broker_that_is_away_is_a_failed_attempt_that_tells_no_password(
    drain: Drain, broker: KafkaBroker, subscribe: Subscribe, register: Register
) -> None:
    broker.stop()
    subscribe(broker.url.replace("kafka://", "kafka://usher:wrong@"))
    register()

    drain()

    attempt = Attempt.objects.get()
    assert "Unable to bootstrap" in attempt.error_message
    assert "wrong" not in attempt.error_message + attempt.traceback


def test_a_login_is_by_sasl_and_encrypted_where_the_url_says_so() -> None:
    plain = kafka.connection_settings(urlsplit("kafka://u:p%40@k"), mechanism="SCRAM-SHA-256")
    secure = kafka.connection_settings(urlsplit("kafkas://u:p@k.example:9093"), mechanism="PLAIN")

    assert plain["security_protocol"] == "SASL_PLAINTEXT"
    assert (plain["sasl_mechanism"], plain["sasl_plain_password"]) == ("SCRAM-SHA-256", "p@")
    assert (secure["security_protocol"], secure["bootstrap_servers"]) == (
        "SASL_SSL",
        "k.example:9093",
    )


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("kafka://k.example/topic", "not by a path"),
        ("kafka://k.example?topik=usher", "no option topik"),
        ("kafka://k.example?mechanism=GSSAPI", "no mechanism GSSAPI"),
        ("kafka://10.0.0.1", "private"),
    ],
)
def test_a_url_that_can_not_be_sent_to_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        clean_location(url)
