"""Events reach a real Valkey's streams: answered for, capped, and through a network that hangs."""

from typing import Any

import pytest
import redis

from events.delivery.drain import drain as drain_queue
from events.models import Attempt, Delivery, DeliveryState
from relay.endpoints import Endpoint
from relay.sending import body_of
from relay.transports import redis_streams
from tests.conftest import Drain
from tests.probe.observe import make_due
from tests.processes import wait_until
from tests.relay.arrivals import check_arrivals, register_many
from tests.relay.conftest import Register, Subscribe
from tests.servers.client import Server

pytestmark = pytest.mark.django_db(transaction=True)


def arrived(server: Server, stream: str = "usher") -> list[dict[str, bytes]]:
    """Return the entries of a stream."""
    with redis.Redis.from_url(server.url) as client:
        entries: Any = client.xrange(stream)
    return [{name.decode(): value for name, value in fields.items()} for _, fields in entries]


def test_an_event_arrives_in_the_stream_of_the_url(
    drain: Drain, valkey_server: Server, subscribe: Subscribe, register: Register
) -> None:
    subscribe(f"{valkey_server.url}?stream=crm")
    event = register()

    drain()

    [entry] = arrived(valkey_server, "crm")
    assert entry == {
        "id": str(event.id).encode(),
        "type": b"accounts.user_registered",
        "key": event.key.encode(),
        "event": body_of(event),
    }


def test_a_stream_is_capped(valkey_server: Server, subscribe: Subscribe) -> None:
    subscribe(f"{valkey_server.url}?maxlen=1")
    events = register_many()

    while Delivery.objects.filter(finished_at__isnull=True, queue="relay").exists():
        drain_queue("relay")  # a busy machine takes longer than one drain's budget

    assert len(arrived(valkey_server)) < len(events) / 4  # a hundred are dropped at once


def test_a_key_that_is_no_stream_is_a_failed_attempt(
    drain: Drain, valkey_server: Server, subscribe: Subscribe, register: Register
) -> None:
    with redis.Redis.from_url(valkey_server.url) as client:
        client.set("usher", "a text")
    subscribe(valkey_server.url)
    register()

    drain()

    assert "WRONGTYPE" in Attempt.objects.get().error_message


def test_all_events_arrive_through_a_server_that_hangs_in_their_midst(
    private_valkey: Server, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(private_valkey.url, schedule_s=[0], max_attempts=50)
    events = register_many()
    made = 0
    entry = redis_streams._entry

    def hang_in_the_midst(message: Any) -> Any:
        nonlocal made
        made += 1
        if made == len(events) // 3:
            private_valkey.pause()
        return entry(message)

    monkeypatch.setattr(redis_streams, "_entry", hang_in_the_midst)
    monkeypatch.setattr(redis_streams, "TIMEOUT_S", 1.0)
    while made < len(events) // 3:
        drain_queue("relay", budget_s=1)
    unsent = Delivery.objects.exclude(state=DeliveryState.DONE).filter(receiver="relay.send")
    assert 0 < unsent.count() < len(events)
    private_valkey.resume()

    def all_is_sent() -> bool:
        Endpoint.objects.update(rests_until=None)
        make_due()
        drain_queue("relay")
        return not unsent.exists()

    wait_until(all_is_sent, timeout_s=120)

    messages = [(entry["id"].decode(), entry["event"]) for entry in arrived(private_valkey)]
    assert len(messages) >= len(events)
    check_arrivals(events, messages)
