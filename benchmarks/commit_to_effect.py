"""Milliseconds from a sign-up's commit to its effect, at several rates of sign-ups.

    python -m benchmarks.commit_to_effect [--rounds 5] [--seconds 10] [--rates 1 50 300]
        [--databases postgres sqlite] [--peers-python .venv-peers/bin/python]

Usher with a receiver that writes an inbox row and a coupon, and Celery over Redis with a task that
writes the same (PostgreSQL only). One process signs people up at a fixed rate, each in a
transaction of its own, and notes when each commit returned; the
server notes when
that of the effect was made (SQLite: when the delivery was settled, just before its commit).
Publisher, workers and servers share the machine and its clock.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from benchmarks.deliveries.contest import Database, create_database, wait_for
from benchmarks.deliveries.peers import Peer
from benchmarks.rounds import alternating, apart, judged, paced, parser, report, spread
from benchmarks.served import ROOT, percentiles_ms, prepare, worker
from benchmarks.servers import DurablePostgres, DurableValkey, running

PEERS_PYTHON = str(ROOT / ".venv-peers" / "bin" / "python")
TARGETS = {("postgres", 50): {"p50_ms": 15, "p99_ms": 60}, ("sqlite", 50): {"p50_ms": 60}}
FIGURES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")


def main() -> None:
    """Measure and print."""
    options = _options()
    if options.signing_up:
        for user_id, moment in _sign_up(*map(float, options.signing_up)):
            print(user_id, moment)
        return
    latency = {database: apart(_measure, options, database) for database in options.databases}
    report("commit_to_effect", options, latency=latency, judgement=_judge(latency))


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=10, help="of each rate in each round")
    made.add_argument("--rates", nargs="+", type=float, default=[1, 50, 300], help="per second")
    made.add_argument("--databases", nargs="+", default=["postgres", "sqlite"])
    made.add_argument("--peers-python", default=PEERS_PYTHON)
    made.add_argument("--without-celery", action="store_true")
    made.add_argument("--signing-up", nargs=2, help=argparse.SUPPRESS)  # this process's other half
    return made.parse_args()


class Usher:
    """Usher, in the database of this process."""

    def __str__(self) -> str:
        return "usher"

    def workers(self) -> AbstractContextManager[None]:
        """Run what reacts."""
        return worker("bare")

    def sign_up(self, rate: float, seconds: float) -> dict[UUID, float]:
        """Sign people up in a process of its own; return when each commit returned."""
        own = [sys.executable, "-m", "benchmarks.commit_to_effect", "--signing-up"]
        return _moments_of([*own, str(rate), str(seconds)], dict(os.environ))

    def effects(self) -> dict[UUID, float]:
        """Return when each effect was written."""
        from django.db import connection

        from events.models import Delivery

        if connection.vendor == "postgresql":
            return _committed(os.environ["DATABASE_URL"], "bare_barecoupon")
        done = Delivery.objects.filter(receiver="bare.issue", finished_at__isnull=False)
        moments = done.values_list("key", "finished_at")
        return {UUID(key): at.timestamp() for key, at in moments if at}


class Celery:
    """Celery over Redis, in a database of its own."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def __str__(self) -> str:
        return "celery"

    def workers(self) -> AbstractContextManager[None]:
        """Run what reacts."""
        return self.peer.workers(2)

    def sign_up(self, rate: float, seconds: float) -> dict[UUID, float]:
        """Sign people up in a process of its own; return when each commit returned."""
        count = max(1, int(rate * seconds))
        command = self.peer.command("publish", "coupon", str(count), "--rate", str(rate))
        return _moments_of(command, self.peer.environment)

    def effects(self) -> dict[UUID, float]:
        """Return when each effect was written."""
        return _committed(self.peer.database.url, "coupon")


def _moments_of(command: list[str], environment: dict[str, str]) -> dict[UUID, float]:
    """Run what signs people up; return when each commit returned."""
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    return {UUID(line[0]): float(line[1]) for line in lines if len(line) == 2}


def _committed(url: str, table: str) -> dict[UUID, float]:
    """Return when the transaction of each row was committed, which the server notes."""
    moment = "extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"
    rows = Database(url).all(f"SELECT user_id, {moment} FROM {table}")  # noqa: S608
    return dict(rows)


def _measure(options: argparse.Namespace, database: str) -> dict[str, Any]:
    """Return the latencies of each rate and contestant: medians of rounds."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        contestants = _contestants(options, database, directory, stack)
        return {f"{rate:g}_per_s": _rate(options, rate, contestants) for rate in options.rates}


def _contestants(
    options: argparse.Namespace, database: str, directory: Path, stack: ExitStack
) -> list[Usher | Celery]:
    os.environ["EMAIL_URL"] = "dummymail://"
    if database == "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{directory / 'usher.sqlite3'}"
        prepare(str(directory), 1, settings="benchmarks.settings")
        return [Usher()]
    server = stack.enter_context(running(DurablePostgres))
    os.environ["DATABASE_URL"] = create_database(server.url, "own")
    prepare(str(directory), 2, settings="benchmarks.settings")
    if options.without_celery:
        return [Usher()]
    redis = stack.enter_context(running(DurableValkey))
    peer = Peer("celery", options.peers_python, server.url, redis.url, 1, directory)
    return [Usher(), Celery(peer)]


def _rate(options: argparse.Namespace, rate: float, contestants: list[Any]) -> dict[str, Any]:
    rounds: dict[str, list[dict[str, Any]]] = {}
    for _, each in alternating(contestants, options.rounds):
        with each.workers():
            _warm_up(each)
            committed = each.sign_up(rate, options.seconds)
            effects = _effects_of(each, committed)
        waited = [max(0.0, effects[user_id] - at) for user_id, at in committed.items()]
        rounds.setdefault(str(each), []).append(percentiles_ms(waited))
    return {
        name: {figure: spread([one[figure] for one in measured]) for figure in FIGURES}
        for name, measured in rounds.items()
    }


def _warm_up(contestant: Any) -> None:
    """Wait until the workers have done something."""
    _effects_of(contestant, contestant.sign_up(10.0, 0.5))


def _effects_of(contestant: Any, committed: dict[UUID, float]) -> dict[UUID, float]:
    """Return when the effects of sign-ups were committed, once all are."""
    wait_for(lambda: len(committed.keys() & contestant.effects().keys()), len(committed))
    effects: dict[UUID, float] = contestant.effects()
    return effects


def _sign_up(rate: float, seconds: float) -> Iterator[tuple[UUID, float]]:
    """Sign people up at a fixed rate; yield each with when its commit had returned."""
    import django

    django.setup()
    from django.db import transaction

    from benchmarks.bare.models import BareSignUp
    from benchmarks.bare.signals import CouponOwed, coupon_owed

    committed: list[float] = []  # before the bell is rung: nobody waits for that
    for _ in paced(range(max(1, int(rate * seconds))), rate):
        user_id = uuid4()
        with transaction.atomic():
            transaction.on_commit(lambda: committed.append(time.time()))
            BareSignUp(user_id=user_id).save(force_insert=True)
            coupon_owed.publish(CouponOwed(user_id=user_id))
        yield user_id, committed.pop()


def _judge(latency: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured beside its target, where there is one."""
    judgement = {}
    for (database, rate), targets in TARGETS.items():
        measured = latency.get(database, {}).get(f"{rate}_per_s", {}).get("usher")
        for figure, bound in targets.items():
            if measured:
                name = f"{database}_{rate}_per_s_{figure}"
                judgement[name] = judged(measured[figure]["median"], at_most=bound)
    return judgement


if __name__ == "__main__":
    main()
