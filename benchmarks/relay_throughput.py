"""Events relayed per second, by each transport, beside a bare loop over the same library.

    python -m benchmarks.relay_throughput [--events 500] [TRANSPORT …]

Runs real brokers out of wheels (RabbitMQ where it is installed) and one drain of the relay's queue
in this process, on a fresh SQLite file (or DATABASE_URL, an empty database). The bare loop keeps
one connection, sends one message after the other and waits for each confirmation: what a script
without outbox, leases, order, retries and a checked address does.
"""

import argparse
import asyncio
import http.client
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from benchmarks.served import prepare

EVENTS_PER_PERSON = 5
SETTINGS = {"RELAY_ALLOWED_NETWORKS": "127.0.0.0/8", "RELAY_ALLOW_HTTP": "on"}

Messages = Sequence[Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("transports", nargs="*", metavar="TRANSPORT", choices=[[], *BARE])
    parser.add_argument("--events", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ.update(SETTINGS)
        prepare(directory, 1)
        results = _measure_all(options.transports or list(BARE), options.events)
    print(
        json.dumps(
            {"benchmark": "relay_throughput", "events": options.events, "transports": results},
            indent=2,
        )
    )


def _measure_all(names: Sequence[str], count: int) -> dict[str, Any]:
    from tests.servers import rabbitmq
    from tests.servers.client import DIRECTORY, RunningHost

    host = RunningHost()
    os.environ[DIRECTORY] = str(host.directory)
    try:
        return {
            name: _measure(name, count)
            if name != "rabbitmq" or rabbitmq.PROGRAM.exists()
            else {"skipped": rabbitmq.MISSING}
            for name in names
        }
    finally:
        host.close()


def _measure(name: str, count: int) -> dict[str, Any]:
    """Return a transport's events per second, relayed and bare."""
    from tests.relay import brokers

    run: Callable[..., AbstractContextManager[Any]] = getattr(brokers, f"{name}_broker")
    with run(linked=brokers.directly) as broker:
        messages = _owe(broker.url, count)
        relayed_s = _seconds(_send_all)
        bare_s = _seconds(lambda: BARE[name](broker.url, messages))
    return {
        "relayed_per_s": round(count / relayed_s),
        "bare_per_s": round(count / bare_s),
        "relayed_to_bare": round(bare_s / relayed_s, 2),
    }


def _owe(url: str, count: int) -> Messages:
    """Publish events for one new endpoint, address them, and return them as they will leave."""
    from django.db import transaction

    from accounts.signals import UserRegistered, user_registered
    from events.delivery import targets
    from events.delivery.drain import drain
    from relay import services
    from relay.endpoints import Endpoint
    from relay.sending import body_of
    from tests.registrations import make_people

    Endpoint.objects.all().delete()
    services.create_endpoint(
        name=url, url=url, event_types=[user_registered.type], owner_email="o@example.com"
    )
    people = make_people(max(1, count // EVENTS_PER_PERSON)) * EVENTS_PER_PERSON
    with transaction.atomic():
        events = user_registered.publish_many(
            [UserRegistered(user_id=person.pk, inviter_id=None) for person in people[:count]]
        )
    calls, targets.MAX_CALLS = targets.MAX_CALLS, 0
    try:
        drain("relay")  # addresses, and sends nothing yet
    finally:
        targets.MAX_CALLS = calls
    return [(event, body_of(event)) for event in events]


def _send_all() -> None:
    from events.delivery.drain import drain
    from events.models import Delivery

    while Delivery.objects.filter(receiver="relay.send", finished_at__isnull=True).exists():
        drain("relay")


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _bare_rabbitmq(url: str, messages: Messages) -> None:
    import pika

    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for event, body in messages:
            channel.basic_publish("usher", event.type, body, mandatory=True)


def _bare_kafka(url: str, messages: Messages) -> None:
    from aiokafka import AIOKafkaProducer

    async def run() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=url.removeprefix("kafka://"), acks="all", enable_idempotence=True
        )
        await producer.start()
        for event, body in messages:
            await producer.send_and_wait("usher", body, key=event.key.encode())
        await producer.stop()

    asyncio.run(run())


def _bare_nats(url: str, messages: Messages) -> None:
    import nats

    async def run() -> None:
        client = await nats.connect(url)
        stream = client.jetstream()
        for event, body in messages:
            await stream.publish(f"usher.{event.type}", body)
        await client.close()

    asyncio.run(run())


def _bare_valkey(url: str, messages: Messages) -> None:
    import redis

    with redis.Redis.from_url(url) as client:
        for event, body in messages:
            client.xadd("usher", {"id": str(event.id), "event": body})


def _bare_zeromq(url: str, messages: Messages) -> None:
    import zmq

    context = zmq.Context()
    with context.socket(zmq.REQ) as socket:
        socket.connect(url.removeprefix("zmq+"))
        for event, body in messages:
            socket.send_multipart([str(event.id).encode(), b"", b"", body])
            socket.recv_multipart()
    context.destroy(linger=0)


def _bare_webhook(url: str, messages: Messages) -> None:
    place, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(place)
    for event, body in messages:
        connection.request("POST", f"/{path}", body, {"webhook-id": str(event.id)})
        connection.getresponse().read()
    connection.close()


BARE: dict[str, Callable[[str, Messages], None]] = {
    "rabbitmq": _bare_rabbitmq,
    "kafka": _bare_kafka,
    "nats": _bare_nats,
    "valkey": _bare_valkey,
    "zeromq": _bare_zeromq,
    "webhook": _bare_webhook,
}


if __name__ == "__main__":
    main()
