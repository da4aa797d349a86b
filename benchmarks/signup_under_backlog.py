"""Sign-up latency while every queue drains a backlog, beside the same on an idle system.

    python -m benchmarks.signup_under_backlog [--backlog 5000] [--rate 20] [--workers 1]

Runs the real web server and worker on a fresh SQLite file (or DATABASE_URL, an empty database) with
a cheap password hasher, so the figure is what Usher adds. Sign-ups arrive at a fixed rate, whether
or not earlier ones are answered; latency is taken at the client, connection included.
"""

import argparse
import json
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from benchmarks.served import Client, percentiles_ms, prepare, server, worker

INVITERS = 50
P99_TARGET_MS = 150


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory, options.workers)
        with server() as port:
            client = Client(port)
            with worker():
                _warm_up(client)
                idle = _measure(client, options.rate, name="idle", seconds=options.idle_seconds)
            backlog = _add_backlog(options.backlog)
            with worker():
                busy = _measure(client, options.rate, name="busy")
        print(json.dumps(_report(options, backlog, idle, busy), indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backlog", type=int, default=5000, help="deliveries per queue")
    parser.add_argument("--rate", type=float, default=20, help="sign-ups per second")
    parser.add_argument("--workers", type=int, default=1, help="per queue")
    parser.add_argument("--idle-seconds", type=float, default=15)
    return parser.parse_args()


def _add_backlog(size: int) -> dict[str, int]:
    """Record `size` registrations that nobody has worked off; return the deliveries by queue."""
    from django.contrib.auth import get_user_model
    from django.db import transaction
    from django.db.models import Count

    from accounts.signals import UserRegistered, user_registered
    from events.models import Delivery

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
    waiting = Delivery.objects.filter(finished_at__isnull=True).values("queue")
    return {row["queue"]: row["count"] for row in waiting.annotate(count=Count("pk"))}


def _open_deliveries() -> int:
    from events.models import Delivery

    return Delivery.objects.filter(finished_at__isnull=True).count()


def _warm_up(client: Client) -> None:
    for number in range(10):
        client.register(f"warm{number}@example.com")


def _timed_sign_up(client: Client, email: str) -> float:
    started = time.monotonic()
    client.register(email)
    return time.monotonic() - started


def _measure(client: Client, rate: float, *, name: str, seconds: float = 0) -> dict[str, Any]:
    """Send sign-ups at a fixed rate for some seconds or, by default, until the backlog is gone."""
    started = time.monotonic()
    answers: list[Future[float]] = []
    with ThreadPoolExecutor(64) as pool:
        while _goes_on(started, seconds, len(answers), rate):
            answers.append(pool.submit(_timed_sign_up, client, f"{name}{len(answers)}@example.com"))
            time.sleep(max(0.0, started + len(answers) / rate - time.monotonic()))
        latencies = [answer.result() for answer in answers]
    return {"seconds": round(time.monotonic() - started, 1), **percentiles_ms(latencies)}


def _goes_on(started: float, seconds: float, sent: int, rate: float) -> bool:
    if seconds:
        return time.monotonic() - started < seconds
    # Asked once a second, because asking costs a query; what is left then is new work.
    return bool(sent % max(1, int(rate))) or _open_deliveries() > rate


def _report(
    options: argparse.Namespace, backlog: dict[str, int], idle: dict[str, Any], busy: dict[str, Any]
) -> dict[str, Any]:
    return {
        "benchmark": "signup_under_backlog",
        "rate_per_s": options.rate,
        "workers_per_queue": options.workers,
        "backlog": backlog,
        "drained_per_s": round(sum(backlog.values()) / busy["seconds"]),
        "idle": idle,
        "busy": busy,
        "p99_target_ms": P99_TARGET_MS,
        "p99_below_target": busy["p99_ms"] < P99_TARGET_MS,
    }


if __name__ == "__main__":
    main()
