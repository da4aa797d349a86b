"""Registrations by the API as fast as they are answered, with more and more web processes.

    python -m benchmarks.api_registrations [--rounds 3] [--seconds 5] [--clients 8]
        [--databases sqlite postgres] [--processes 1 2 4] [--hashers cheap argon2]

Each set-up is a database, a number of web processes and a password hasher: `cheap` shows what Usher
takes, `argon2` what people get, and the hash is measured by itself beside them. Rounds go through
the set-ups forth and back, so that none has the machine's best hour; figures are medians of rounds.
Each client sends its next registration once the last one is answered, on a connection of its own.
Clients and database share the machine with what is measured, so more processes than it has
processors cannot be faster. No worker runs. PostgreSQL comes from the development requirements and
does not wait for the disk (fsync off), SQLite does: compare processes, not databases.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.served import PASSWORD, ROOT, Client, percentiles_ms, server

DATABASES = ("sqlite", "postgres")
HASHERS = ("cheap", "argon2")
HASHES = 10
WARM_UP = 4  # registrations per client
FIGURES = ("per_s", "p50_ms", "p99_ms")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a round measures."""

    database: str
    processes: int
    hasher: str


def main() -> None:
    """Measure and print."""
    options = _options()
    chosen = itertools.product(options.databases, options.processes, options.hashers)
    setups = [Setup(*each) for each in chosen]
    with _databases(options.databases) as environments:
        rounds = _rounds(options, setups, environments)
    report = {
        "benchmark": "api_registrations",
        "rounds": options.rounds,
        "seconds": options.seconds,
        "clients": options.clients,
        "processors": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "argon2_ms": _hash_ms(),
        "setups": [_summary(each, rounds[each]) for each in setups],
    }
    print(json.dumps(report, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each set-up in each round")
    parser.add_argument("--clients", type=int, default=8, help="that register at the same time")
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--hashers", nargs="+", choices=HASHERS, default=HASHERS)
    return parser.parse_args()


@contextmanager
def _databases(names: Sequence[str]) -> Iterator[dict[str, dict[str, str]]]:
    """Migrate a new database of each kind; return the environments of processes that use them."""
    with tempfile.TemporaryDirectory() as directory, _postgres(names) as urls:
        environments = {}
        for name in names:
            own = Path(directory, name)
            own.mkdir()
            url = urls.get(name, f"sqlite:///{own / 'usher.sqlite3'}")
            environments[name] = {
                "USHER_VAR": str(own),
                "DATABASE_URL": url,
                "RATE_LIMITS": "off",
                "DJANGO_SETTINGS_MODULE": "project.settings",
            }
            _migrate(environments[name])
        yield environments


@contextmanager
def _postgres(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Run PostgreSQL where it is asked for; return its address."""
    from tests.servers.client import DIRECTORY, RunningHost, new_server

    if "postgres" not in names:
        yield {}
        return
    host = RunningHost()
    os.environ[DIRECTORY] = str(host.directory)
    try:
        yield {"postgres": new_server("postgres")[0].url}
    finally:
        host.close()


def _migrate(environment: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True)


def _rounds(
    options: argparse.Namespace, setups: list[Setup], environments: dict[str, dict[str, str]]
) -> dict[Setup, list[dict[str, Any]]]:
    """Measure every set-up once in each round, in the opposite order in every other one."""
    measured: dict[Setup, list[dict[str, Any]]] = {each: [] for each in setups}
    for number in range(options.rounds):
        for setup in setups if number % 2 == 0 else reversed(setups):
            print(f"round {number + 1}: {setup} …", file=sys.stderr, flush=True)
            environment = {**environments[setup.database], "PASSWORD_HASHER": setup.hasher}
            with server(setup.processes, **environment) as port:
                prefix = f"r{number}-{setup.processes}-{setup.hasher}"
                measured[setup].append(_measure(options, Client(port), prefix))
    return measured


def _measure(options: argparse.Namespace, client: Client, prefix: str) -> dict[str, Any]:
    """Let clients register people for some seconds; return how many, and how long each took."""
    names = (f"{prefix}-{number}@example.com" for number in itertools.count())
    with ThreadPoolExecutor(options.clients) as pool:
        list(pool.map(client.register, itertools.islice(names, WARM_UP * options.clients)))
        started = time.monotonic()
        until = started + options.seconds
        running = [
            pool.submit(_register_until, client, f"{prefix}-client{number}", until)
            for number in range(options.clients)
        ]
        taken = [seconds for each in running for seconds in each.result()]
        elapsed = time.monotonic() - started
    return {"per_s": round(len(taken) / elapsed, 1), **percentiles_ms(taken)}


def _register_until(client: Client, prefix: str, until: float) -> list[float]:
    taken: list[float] = []
    while (started := time.monotonic()) < until:
        client.register(f"{prefix}-{len(taken)}@example.com")
        taken.append(time.monotonic() - started)
    return taken


def _summary(setup: Setup, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "database": setup.database,
        "processes": setup.processes,
        "hasher": setup.hasher,
        **{name: round(median(each[name] for each in rounds), 1) for name in FIGURES},
        "per_s_of_rounds": [each["per_s"] for each in rounds],
    }


def _hash_ms() -> float:
    """Return how long one password takes to hash here, when nothing else happens."""
    from django.conf import settings
    from django.contrib.auth.hashers import make_password

    settings.configure(PASSWORD_HASHERS=["django.contrib.auth.hashers.Argon2PasswordHasher"])
    taken: list[float] = []
    for _ in range(HASHES):
        started = time.perf_counter()
        make_password(PASSWORD)
        taken.append(time.perf_counter() - started)
    return round(median(taken) * 1000, 1)


if __name__ == "__main__":
    main()
