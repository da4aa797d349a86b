"""Events reach a ZeroMQ socket, signed, and count only when it has acknowledged them."""

from collections.abc import Iterator

import pytest
import zmq
import zmq.utils.z85
from django.core.exceptions import ValidationError
from standardwebhooks.webhooks import Webhook

from events.models import Attempt, Delivery, DeliveryState
from relay.sealing import unseal
from relay.sending import body_of
from relay.transports import zeromq
from relay.validation import clean_location
from tests.conftest import Drain
from tests.relay.brokers import ZeroMQBroker, zeromq_broker
from tests.relay.conftest import Register, Subscribe
from tests.servers.process import HOST

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> Iterator[ZeroMQBroker]:
    """Return a socket that acknowledges."""
    with zeromq_broker() as broker:
        yield broker


def state() -> str:
    """Return the state of the one delivery."""
    return Delivery.objects.get(receiver="relay.send").state


def test_an_event_arrives_signed_and_is_done_when_acknowledged(
    drain: Drain, broker: ZeroMQBroker, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(broker.url)
    event = register()

    drain()

    [[id_, timestamp, signature, body]] = broker.received
    headers = {
        "webhook-id": id_.decode(),
        "webhook-timestamp": timestamp.decode(),
        "webhook-signature": signature.decode(),
    }
    assert Webhook(unseal(endpoint.sealed_secret)).verify(body, headers)["id"] == str(event.id)
    assert body == body_of(event)
    assert state() == DeliveryState.DONE


def test_the_next_address_is_tried_where_one_can_not_be_reached(
    drain: Drain,
    broker: ZeroMQBroker,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zeromq, "CONNECT_S", 0.2)
    monkeypatch.setattr(zeromq, "allowed_addresses", lambda *args, **options: ["127.0.0.9", HOST])
    subscribe(broker.url)
    event = register()

    drain()

    assert [frames[-1] for frames in broker.received] == [body_of(event)]
    assert state() == DeliveryState.DONE


def test_a_refusal_is_a_failed_attempt_with_its_reason(
    drain: Drain, broker: ZeroMQBroker, subscribe: Subscribe, register: Register
) -> None:
    broker.answer = lambda frames: [frames[0], b"error", b"no room"]
    subscribe(broker.url)
    register()

    drain()

    assert Attempt.objects.get().error_message == "It answered: error no room"


@pytest.mark.parametrize(
    "answer", [[b"another id", b"ok"], [b"ok"], [b"\xff", b"ok"]], ids=["other", "short", "no text"]
)
def test_what_acknowledges_nothing_we_sent_is_no_acknowledgement(
    drain: Drain,
    broker: ZeroMQBroker,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
    answer: list[bytes],
) -> None:
    monkeypatch.setattr(zeromq, "TOTAL_S", 0.5)
    broker.answer = lambda frames: answer
    subscribe(broker.url)
    register()

    drain()

    assert "no answer in time" in Attempt.objects.get().error_message


def test_a_socket_that_is_away_is_a_failed_attempt(
    drain: Drain,
    broker: ZeroMQBroker,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zeromq, "TOTAL_S", 0.5)
    broker.stop()
    broker.link.conditions.refuses = True
    subscribe(broker.url)
    register()

    drain()

    assert "Resource temporarily unavailable" in Attempt.objects.get().error_message


def test_with_the_other_sides_key_all_is_encrypted(
    drain: Drain, broker: ZeroMQBroker, subscribe: Subscribe, register: Register
) -> None:
    public, secret = zmq.curve_keypair()
    broker.stop()
    broker.secret_key = secret
    broker.start()
    seen: list[bytes] = []

    def watch(chunk: bytes) -> bool:
        seen.append(chunk)
        return False

    broker.link.cut_when(watch)
    subscribe(f"{broker.url}?server_key={zmq.utils.z85.decode(public).hex()}")
    event = register()

    drain()

    assert [frames[-1] for frames in broker.received] == [body_of(event)]
    assert event.key.encode() not in b"".join(seen)
    assert state() == DeliveryState.DONE


def test_another_key_gets_nothing(
    drain: Drain,
    broker: ZeroMQBroker,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zeromq, "TOTAL_S", 0.5)
    broker.stop()
    broker.secret_key = zmq.curve_keypair()[1]
    broker.start()
    subscribe(f"{broker.url}?server_key={'ab' * 32}")
    register()

    drain()

    assert broker.received == []
    assert state() == DeliveryState.PENDING


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("zmq+tcp://z.example", "names a port"),
        ("zmq+tcp://user@z.example:5555", "no user"),
        ("zmq+tcp://z.example:5555/path", "no path"),
        ("zmq+tcp://z.example:5555?server_key=xyz", "64 hexadecimal"),
        ("zmq+tcp://192.168.0.1:5555", "private"),
    ],
)
def test_a_url_that_can_not_be_sent_to_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        clean_location(url)
