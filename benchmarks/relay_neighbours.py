"""How long an endpoint waits for its events, alone and beside an endpoint that hangs.

    python -m benchmarks.relay_neighbours [--seconds 10] [--rate 20]

Runs a real worker on a fresh SQLite file (or DATABASE_URL, an empty database). Events are published
at a steady rate; measured is the time from publishing to their arrival at an endpoint that answers
at once: first alone, then with one beside it that takes connections and never answers.
"""

import argparse
import json
import os
import tempfile
import time
from datetime import datetime
from typing import Any

from benchmarks.served import percentiles_ms, prepare, worker

SETTINGS = {"RELAY_ALLOWED_NETWORKS": "127.0.0.0/8", "RELAY_ALLOW_HTTP": "on"}
WARM_UP_EVENTS = 20
GIVE_UP_AFTER_S = 60
TARGET = 1.2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of the two parts")
    parser.add_argument("--rate", type=float, default=20.0, help="events a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ.update(SETTINGS)
        prepare(directory, 1)
        with worker():
            alone, beside = _measure(options.seconds, options.rate)
    ratio = beside["p95_ms"] / alone["p95_ms"]
    print(
        json.dumps(
            {
                "benchmark": "relay_neighbours",
                "events_per_s": options.rate,
                "alone": alone,
                "beside_one_that_hangs": beside,
                "p95_ratio": round(ratio, 2),
                "target": TARGET,
                "within_target": ratio <= TARGET,
            },
            indent=2,
        )
    )


def _measure(seconds: float, rate: float) -> tuple[dict[str, Any], dict[str, Any]]:
    from tests.relay import partner

    with partner.running() as prompt, partner.running() as hanging:
        arrivals: dict[str, float] = {}

        def note(handler: partner.Handler, received: partner.Received) -> None:
            arrivals.setdefault(received.headers["webhook-id"], time.time())
            handler.reply(204)

        prompt.answer, hanging.answer = note, hanging.hang
        _subscribe("prompt", prompt.url)
        _publish(arrivals, WARM_UP_EVENTS, rate)
        alone = _publish(arrivals, int(seconds * rate), rate)
        _subscribe("hanging", hanging.url)
        _publish(arrivals, WARM_UP_EVENTS, rate)
        beside = _publish(arrivals, int(seconds * rate), rate)
        assert hanging.received, "nothing was sent to the endpoint that hangs"
    return percentiles_ms(alone), percentiles_ms(beside)


def _subscribe(name: str, url: str) -> None:
    from accounts.signals import user_registered
    from relay import services

    services.create_endpoint(
        name=name, url=url, event_types=[user_registered.type], owner_email="o@example.com"
    )


def _publish(arrivals: dict[str, float], count: int, rate: float) -> list[float]:
    """Publish events at a steady rate. Return the seconds that each took to arrive."""
    from tests.registrations import make_people

    began = time.monotonic()
    published: dict[str, datetime] = {}
    for number, person in enumerate(make_people(count)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        event = _publish_one(person.pk)
        published[str(event.id)] = event.occurred_at
    deadline = time.monotonic() + GIVE_UP_AFTER_S
    while not published.keys() <= arrivals.keys():
        if time.monotonic() > deadline:
            raise TimeoutError("they did not arrive")
        time.sleep(0.01)
    return [arrivals[id_] - at.timestamp() for id_, at in published.items()]


def _publish_one(user_id: Any) -> Any:
    from django.db import transaction

    from accounts.signals import UserRegistered, user_registered

    with transaction.atomic():
        return user_registered.publish(UserRegistered(user_id=user_id, inviter_id=None))


if __name__ == "__main__":
    main()
