"""Events reach a real NATS JetStream: acknowledged, once per id, and never past a missing TLS."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import unquote

import nats
import pytest
from django.core.exceptions import ValidationError

from events.context import correlated
from events.models import Attempt, Delivery, DeliveryState
from events.operations.replay import replay
from events.operations.selection import Selection
from relay.sending import body_of
from relay.validation import clean_location
from tests.conftest import Drain
from tests.relay.brokers import STREAM, NatsBroker, nats_broker
from tests.relay.conftest import (
    CORRELATION_ID,
    PERCENT_ENCODED,
    Register,
    Subscribe,
    attributes_in,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> Iterator[NatsBroker]:
    """Return a NATS with a stream."""
    with nats_broker() as broker:
        yield cast(NatsBroker, broker)


def first_message(broker: NatsBroker) -> Any:
    """Return the stream's first message."""

    async def read() -> Any:
        client = await nats.connect(broker._server.url)
        message = await client.jetstream().get_msg(STREAM, 1)
        await client.close()
        return message

    return asyncio.run(read())


def test_an_event_arrives_with_its_id_under_its_type(
    drain: Drain, broker: NatsBroker, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url)
    event = register()

    drain()

    message = first_message(broker)
    assert message.subject == "usher.accounts.user_registered"
    assert message.data == body_of(event)
    assert message.headers["Nats-Msg-Id"] == str(event.id)
    assert message.headers["Content-Type"] == "application/cloudevents+json"
    assert Delivery.objects.get(receiver="relay.send").state == DeliveryState.DONE


def test_an_events_attributes_are_headers_too_percent_encoded(
    drain: Drain, broker: NatsBroker, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url)
    with correlated(CORRELATION_ID):
        register()

    drain()

    message = first_message(broker)
    metadata = {name: t for name, t in message.headers.items() if name.startswith("ce-")}
    assert metadata["ce-correlationid"] == PERCENT_ENCODED
    unquoted = {name: unquote(text) for name, text in metadata.items()}
    assert unquoted == attributes_in(message.data, "ce-")


def test_a_repeated_event_is_kept_once(
    drain: Drain, broker: NatsBroker, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url)
    register()
    drain()

    replay(Selection(state=DeliveryState.DONE, receiver="relay.send"))
    drain()
    broker.collect()

    assert len(broker.messages) == 1


def test_what_no_stream_takes_is_a_failed_attempt(
    drain: Drain, broker: NatsBroker, subscribe: Subscribe, register: Register
) -> None:
    subscribe(f"{broker.url}?subject=elsewhere")
    register()

    drain()

    assert Attempt.objects.get().error_message == (
        "No stream takes the subject elsewhere.accounts.user_registered."
    )


def test_a_server_that_is_away_is_a_failed_attempt(
    drain: Drain, broker: NatsBroker, subscribe: Subscribe, register: Register
) -> None:
    broker.stop()
    broker.link.conditions.refuses = True
    subscribe(broker.url)
    register()

    drain()

    assert "127.0.0.1: " in Attempt.objects.get().error_message


def test_a_server_without_tls_hears_nothing_where_the_url_asks_for_it(
    drain: Drain, broker: NatsBroker, subscribe: Subscribe, register: Register
) -> None:
    subscribe(broker.url.replace("nats://", "nats+tls://usher:safe@"))
    register()

    drain()

    assert "secure connection not available" in Attempt.objects.get().error_message


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nats://n.example/usher", "not by a path"),
        ("nats://n.example?subject=usher.*", "without"),
        ("nats://n.example?subject=", "words with dots"),
        ("nats://n.example?stream=usher", "no option stream"),
    ],
)
def test_a_url_that_can_not_be_sent_to_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        clean_location(url)


def test_a_token_is_kept_apart() -> None:
    location = clean_location("nats://:s3cret@n.example:4222")

    assert (location.url, location.password) == ("nats://@n.example:4222", "s3cret")
