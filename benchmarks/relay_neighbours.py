"""How long an endpoint waits for its events, beside one that hangs.

    python -m benchmarks.relay_neighbours [--rounds 5] [--seconds 30] [--rate 20]

Runs a real worker on a fresh SQLite file (or DATABASE_URL, an empty database). Events are published
at a steady rate; measured is the time from publishing to their arrival at an endpoint that answers
at once. In turns it has a neighbour that answers too, one that takes connections and never answers,
and none. A call to what hangs ends after 15 s, so within a round some end and others begin.
"""

import argparse
import os
import tempfile
import time
from datetime import datetime
from typing import Any

from benchmarks.rounds import alternating, judged, paced, parser, ratio, report, spread
from benchmarks.served import percentiles_ms, prepare, worker

SETTINGS = {"RELAY_ALLOWED_NETWORKS": "127.0.0.0/8", "RELAY_ALLOW_HTTP": "on"}
WARM_UP_EVENTS = 20
GIVE_UP_AFTER_S = 60
NEIGHBOURS = ("none", "answers", "hangs")
TARGET = 1.2

Latencies = dict[str, list[dict[str, Any]]]  # of each round, by what the neighbour does


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=30.0, help="of each round")
    made.add_argument("--rate", type=float, default=20.0, help="events a second")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ.update(SETTINGS)
        prepare(directory, 1)
        with worker():
            rounds = _measure(options)
    figures = {neighbour: _figures(each) for neighbour, each in rounds.items()}
    p95_ms = {neighbour: each["p95_ms"] for neighbour, each in figures.items()}
    report(
        "relay_neighbours",
        options,
        neighbour=figures,
        judgement={
            f"p95_hangs_to_{other}": judged(ratio(p95_ms["hangs"], p95_ms[other]), at_most=TARGET)
            for other in ("none", "answers")
        },
    )


def _figures(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: spread([each[name] for each in rounds]) for name in ("p50_ms", "p95_ms")}


def _measure(options: argparse.Namespace) -> Latencies:
    from tests.relay import partner

    rounds: Latencies = {neighbour: [] for neighbour in NEIGHBOURS}
    arrivals: dict[str, float] = {}

    def note(handler: partner.Handler, received: partner.Received) -> None:
        arrivals.setdefault(received.headers["webhook-id"], time.time())
        handler.reply(204)

    with partner.running() as prompt:
        prompt.answer = note
        _subscribe("prompt", prompt.url)
        _publish(arrivals, WARM_UP_EVENTS, options.rate)
        for _, neighbour in alternating(NEIGHBOURS, options.rounds):
            rounds[neighbour].append(_round(neighbour, arrivals, options))
    return rounds


def _round(
    neighbour: str, arrivals: dict[str, float], options: argparse.Namespace
) -> dict[str, Any]:
    """Measure beside a new neighbour, and leave nothing of it to the next round."""
    from tests.relay import partner

    with partner.running() as other:
        other.answer = other.hang if neighbour == "hangs" else partner.accept
        endpoint = _subscribe("other", other.url) if neighbour != "none" else None
        _publish(arrivals, WARM_UP_EVENTS, options.rate)
        latencies = _publish(arrivals, int(options.seconds * options.rate), options.rate)
        assert other.received or not endpoint, "nothing was sent to the neighbour"
    if endpoint:
        _forget(endpoint)
    return percentiles_ms(latencies)


def _subscribe(name: str, url: str) -> Any:
    from accounts.signals import user_registered
    from relay import services

    created = services.create_endpoint(
        name=name, url=url, event_types=[user_registered.type], owner_email="o@example.com"
    )
    return created.endpoint


def _forget(endpoint: Any) -> None:
    from events.models import Delivery
    from relay import services
    from tests.processes import wait_until

    owed = Delivery.objects.filter(target=str(endpoint.pk), finished_at__isnull=True)

    def is_gone() -> bool:  # once a call that is under way has ended
        services.delete_endpoint(endpoint_id=endpoint.pk, by="relay_neighbours")
        return not owed.exists()

    wait_until(is_gone, GIVE_UP_AFTER_S)


def _publish(arrivals: dict[str, float], count: int, rate: float) -> list[float]:
    """Publish events at a steady rate. Return the seconds that each took to arrive."""
    from tests.processes import wait_until
    from tests.registrations import make_people

    published: dict[str, datetime] = {}
    for person in paced(make_people(count), rate):
        event = _publish_one(person.pk)
        published[str(event.id)] = event.occurred_at
    wait_until(lambda: published.keys() <= arrivals.keys(), GIVE_UP_AFTER_S)
    return [arrivals[id_] - at.timestamp() for id_, at in published.items()]


def _publish_one(user_id: Any) -> Any:
    from django.db import transaction

    from accounts.signals import UserRegistered, user_registered

    with transaction.atomic():
        return user_registered.publish(UserRegistered(user_id=user_id, inviter_id=None))


if __name__ == "__main__":
    main()
