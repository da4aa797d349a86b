"""A real web server and worker on a database of their own, for benchmarks."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from math import ceil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
PASSWORD = "correct-horse-7"  # noqa: S105


def prepare(directory: str, workers: int, settings: str = "project.settings") -> None:
    """Migrate an empty database, open a campaign and a reward rule, set Django up here."""
    os.environ.update(
        USHER_VAR=directory,
        PASSWORD_HASHER="cheap",  # noqa: S106
        RATE_LIMITS="off",
        QUEUE_WORKERS=str(workers),
        DJANGO_SETTINGS_MODULE=settings,
        PYTHONPATH=str(ROOT),
    )
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0"],
        cwd=ROOT,
        check=True,
    )
    import django

    django.setup()
    _let_receivers_be_known()
    _open_campaign_and_rule()


def _let_receivers_be_known() -> None:
    """Let the site be older than the day after a release, in which events are looked through."""
    from django.utils import timezone

    from events.delivery.sweep import record_receivers
    from events.models import ReceiverState
    from events.receivers import all_receivers

    since = timezone.now() - timedelta(days=2)
    ReceiverState.objects.bulk_create(
        ReceiverState(name=receiver.name, first_seen_at=since) for receiver in all_receivers()
    )
    record_receivers()


def _open_campaign_and_rule() -> None:
    from django.utils import timezone

    from coupons.models import Campaign
    from points.models import RewardRule

    yesterday = timezone.now() - timedelta(days=1)
    terms = {"amount": 500, "currency": "EUR", "valid_days": 30}
    Campaign.objects.create(
        name="Welcome", trigger="registration", status="active", starts_at=yesterday, **terms
    )
    RewardRule.objects.create(version=1, points=100, active_from=yesterday)


@contextmanager
def worker(*queues: str, **environment: str) -> Iterator[None]:
    """Run `manage.py worker`, for some queues or for all."""
    with _process("manage.py", "worker", *queues, "--grace", "20", **environment):
        yield


@contextmanager
def server(processes: int = 1, **environment: str) -> Iterator[int]:
    """Run the web server; return its port once it answers."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    arguments = ["project.asgi:application", "--port", str(port), "--no-access-log"]
    arguments += ["--ws-max-size", "1024", "--ws-per-message-deflate", "false"]  # as `make run`
    with _process("-m", "uvicorn", *arguments, "--workers", str(processes), **environment):
        deadline = time.monotonic() + 30
        while not _answers(port):
            if time.monotonic() > deadline:
                raise TimeoutError("the web server does not answer")
            time.sleep(0.1)
        yield port


@contextmanager
def _process(*arguments: str, **environment: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,  # where the console mail backend prints
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int) -> bool:
    try:
        connection = HTTPConnection(HOST, port, timeout=2)
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except OSError:
        return False


class Client:
    """Calls of the API, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def register(self, email: str, referral_code: str = "") -> Any:
        """Register a person."""
        body = {"email": email, "password": PASSWORD, "referral_code": referral_code}
        return self._call("POST", "registrations/", body)

    def token(self, email: str) -> str:
        """Return an API token."""
        token: str = self._call("POST", "tokens/", {"email": email, "password": PASSWORD})["token"]
        return token

    def get(self, path: str, token: str) -> Any:
        """Read as the owner of the token."""
        return self._call("GET", path, token=token)

    def _call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        if token:
            headers["Authorization"] = f"Token {token}"
        connection = HTTPConnection(HOST, self.port, timeout=60)
        connection.request(method, f"/api/v1/{path}", json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status not in {200, 201}:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {content[:200]!r}")
        return json.loads(content)


def percentiles_ms(seconds: Sequence[float]) -> dict[str, Any]:
    """Return the nearest-rank percentiles of some durations, in milliseconds."""
    ascending = sorted(seconds)

    def at(share: float) -> float:
        rank = ceil(share * len(ascending))
        return round(ascending[rank - 1] * 1000, 1)

    return {
        "count": len(ascending),
        "p50_ms": at(0.50),
        "p95_ms": at(0.95),
        "p99_ms": at(0.99),
        "max_ms": at(1),
    }
