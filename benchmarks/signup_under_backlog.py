"""Sign-up latency while every queue drains a backlog, beside the same on an idle system.

    python -m benchmarks.signup_under_backlog [--backlog 15000] [--rate 20] [--seconds 15]

Runs the real web server and worker on a fresh SQLite file (or DATABASE_URL, an empty database) with
a cheap password hasher, so the figure is what Usher adds. Sign-ups arrive at a fixed rate, whether
or not earlier ones are answered; latency is taken at the client, connection included. No sign-up
is held to be suspicious, as all come from one place.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.rounds import judged, paced, report
from benchmarks.served import Client, percentiles_ms, prepare, server, worker

INVITERS = 50
STARTED_WITHIN_S = 60
P99_TARGET_MS = 150


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory, options.workers, settings="benchmarks.settings")
        with server() as port:
            client = Client(port)
            with worker():
                _warm_up(client)
                idle = _measure(client, options, "idle")
            backlog = _add_backlog(options.backlog)
            with worker():
                before = _finished_once_at_work()
                busy = _measure(client, options, "busy")
                drained, left = _finished() - before, _open_by_queue()
    report(
        "signup_under_backlog",
        options,
        backlog=backlog,
        left=left,
        drained_per_s=round(drained / busy["seconds"]),
        idle=idle,
        busy=busy,
        judgement={
            "busy_p99_ms": judged(busy["p99_ms"], at_most=P99_TARGET_MS),
            "backlog_left_in_every_queue": judged(
                min(left.get(queue, 0) for queue in backlog), at_least=1
            ),
        },
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backlog", type=int, default=15_000, help="deliveries per queue")
    parser.add_argument("--rate", type=float, default=20, help="sign-ups per second")
    parser.add_argument("--workers", type=int, default=1, help="per queue")
    parser.add_argument("--seconds", type=float, default=15, help="of each of the two parts")
    return parser.parse_args()


def _add_backlog(size: int) -> dict[str, int]:
    """Record `size` registrations that nobody has worked off; return the deliveries by queue."""
    from django.contrib.auth import get_user_model
    from django.db import transaction

    from accounts.signals import UserRegistered, user_registered

    user = get_user_model()
    with transaction.atomic():
        people = user.objects.bulk_create(
            user(email=f"backlog{n}@example.com", email_canonical=f"backlog{n}@example.com")
            for n in range(size)
        )
        inviters = people[:INVITERS]
        user_registered.publish_many(
            UserRegistered(user_id=person.pk, inviter_id=inviters[n % INVITERS].pk)
            if n >= INVITERS
            else UserRegistered(user_id=person.pk, inviter_id=None)
            for n, person in enumerate(people)
        )
    return _open_by_queue()


def _open_by_queue() -> dict[str, int]:
    from django.db.models import Count

    from events.models import Delivery

    left = Delivery.objects.filter(finished_at__isnull=True).values("queue")
    return {row["queue"]: row["count"] for row in left.annotate(count=Count("pk"))}


def _finished() -> int:
    from events.models import Delivery

    return Delivery.objects.filter(finished_at__isnull=False).count()


def _finished_once_at_work() -> int:
    """Wait for the worker, which takes a while to start; return what is finished by then."""
    from tests.processes import wait_until

    before = _finished()
    wait_until(lambda: _finished() > before, STARTED_WITHIN_S)
    return _finished()


def _warm_up(client: Client) -> None:
    for number in range(10):
        client.register(f"warm{number}@example.com")


def _timed_sign_up(client: Client, email: str) -> float:
    started = time.monotonic()
    client.register(email)
    return time.monotonic() - started


def _measure(client: Client, options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Send sign-ups at a fixed rate for some seconds."""
    started = time.monotonic()
    numbers = paced(range(int(options.seconds * options.rate)), options.rate)
    with ThreadPoolExecutor(64) as pool:
        answers = [
            pool.submit(_timed_sign_up, client, f"{name}{number}@example.com") for number in numbers
        ]
        latencies = [answer.result() for answer in answers]
    return {"seconds": round(time.monotonic() - started, 1), **percentiles_ms(latencies)}


if __name__ == "__main__":
    main()
