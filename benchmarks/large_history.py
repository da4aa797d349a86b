"""How long pages take on a large history, each at the median, beside what is allowed.

    python -m benchmarks.large_history [--events 1000000] [--rounds 5] [--limit-ms 500]

Loads the history into a PostgreSQL of its own, or into the one that DATABASE_URL names, as far as
it has fewer events (`benchmarks.history`). Pages are asked for in this process, from the URL to the
last byte of the answer, as staff with every permission; what a web server adds is not in it.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

LIMIT_MS = 500.0
STAFF = "staff@usher.test"


def main() -> int:
    """Measure and print; return 1 where a page is over the limit or fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    parser.add_argument("--limit-ms", type=float, default=LIMIT_MS)
    parser.add_argument("--only", default="", help="pages whose name has this in it")
    options = parser.parse_args()
    with _database():
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        report = measure(**vars(options))
    print(json.dumps(report, indent=2))
    return 0 if report["all_below_limit"] else 1


@contextmanager
def _database() -> Iterator[None]:
    """Say in the environment which database it is: a new one's, unless DATABASE_URL names one."""
    directory = tempfile.mkdtemp(prefix="usher-history-")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    os.environ.update(USHER_VAR=directory, PASSWORD_HASHER="cheap", RATE_LIMITS="off")  # noqa: S106
    host = None
    try:
        if "DATABASE_URL" not in os.environ:
            from tests.servers.client import DIRECTORY, RunningHost, new_server

            host = RunningHost()
            os.environ[DIRECTORY] = str(host.directory)
            os.environ["DATABASE_URL"] = new_server("postgres")[0].url
        yield
    finally:
        if host:
            host.close()
        shutil.rmtree(directory, ignore_errors=True)


def measure(
    *, events: int, rounds: int, limit_ms: float = LIMIT_MS, only: str = ""
) -> dict[str, Any]:
    """Load what is missing and measure. The database is migrated."""
    from benchmarks.history.loading import load
    from events.models import Delivery, Event

    missing = events - Event.objects.count()
    loaded = load(events=missing) if missing > 0 else None
    figures = _figures(rounds, only)
    slow = [name for name, each in figures.items() if each["median_ms"] > limit_ms]
    failed = [name for name, each in figures.items() if "failed" in each]
    return {
        "benchmark": "large_history",
        "events": Event.objects.count(),
        "deliveries": Delivery.objects.count(),
        "loaded_in_s": loaded.seconds if loaded else None,
        "processors": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],  # of the last 1, 5 and 15 minutes
        "rounds": rounds,
        "limit_ms": limit_ms,
        "all_below_limit": not slow and not failed,
        "over_limit": slow,
        "failed": failed,
        "median_of_all_ms": round(median(each["median_ms"] for each in figures.values()), 1),
        "measured": dict(sorted(figures.items(), key=lambda item: -item[1]["median_ms"])),
    }


def _figures(rounds: int, only: str) -> dict[str, dict[str, Any]]:
    from benchmarks.pages import pages
    from events.operations.status import receiver_statuses

    staff, as_staff, as_person = _clients()
    figures = {}
    for page in pages(staff):
        if only not in page.name:
            continue
        print(page.name, file=sys.stderr, flush=True)
        figures[page.name] = _timed(as_person if page.as_person else as_staff, page, rounds)
    for name, told in (("explain --user", _explain), ("events_status", receiver_statuses)):
        if only in name:
            figures[name] = _measured(told, rounds)
            del figures[name]["result"]
    return figures


def _clients() -> tuple[Any, Any, Any]:
    """Return staff, and clients that are logged in: as staff, and as somebody with rewards."""
    from django.conf import settings
    from django.test import Client

    from accounts.models import User

    if "testserver" not in settings.ALLOWED_HOSTS:
        settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
    staff = User.objects.filter(email=STAFF).first() or User.objects.create_superuser(STAFF, "!")
    inviter = User.objects.filter(points_account__balance__gt=0).latest("registered_at")
    as_staff, as_person = Client(raise_request_exception=False), Client()
    for client, user in ((as_staff, staff), (as_person, inviter)):
        client.force_login(user, "allauth.account.auth_backends.AuthenticationBackend")
    return staff, as_staff, as_person


def _timed(client: Any, page: Any, rounds: int) -> dict[str, Any]:
    expected = 302 if page.leads_on else 200

    def ask() -> int:
        method = client.get if page.body is None else client.post
        answer = method(page.address, page.body)
        b"".join(answer.streaming_content) if answer.streaming else answer.content
        return int(answer.status_code)

    figures = _measured(ask, rounds)
    if (status := figures.pop("result")) != expected:
        figures["failed"] = f"{status}, not {expected}"
    return figures


def _measured(function: Any, rounds: int) -> dict[str, Any]:
    """Return how long a call takes, the first left out, and how many statements one takes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        result = function()
    queries = list(captured.captured_queries)  # the next request forgets them
    durations = []
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        durations.append((time.perf_counter() - began) * 1000)
    slowest = max(queries, key=lambda query: float(query["time"]), default=None)
    figures = {
        "median_ms": round(median(durations), 1),
        "max_ms": round(max(durations), 1),
        "statements": len(queries),
        "result": result,
    }
    if slowest and float(slowest["time"]) > 0.05:
        figures["slowest"] = f"{float(slowest['time']) * 1000:.0f} ms: {slowest['sql'][:400]}"
    return figures


def _explain() -> None:
    from accounts.models import User
    from events.operations.explain import story_of_user
    from events.operations.narrate import lines_of
    from events.operations.verdict import verdict_on

    inviter = User.objects.filter(points_account__balance__gt=0).earliest("registered_at")
    story = story_of_user(inviter.email)
    lines_of(story, verdict_on(story))


if __name__ == "__main__":
    sys.exit(main())
