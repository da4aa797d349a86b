"""More worker machines at one PostgreSQL: what they add, what they wait for, what a sign-up costs.

    python -m benchmarks.scaling [--rounds 5] [--events 10000] [--machines 1 2 4]

A machine is a `manage.py worker` of its own with one process for the queue, and so a connection of
its own; all share this machine, so that more of them than it has processors can't be faster: look
at what they wait for. Work is the backlog of `benchmarks.deliveries`, bare and real.

`cost` is what a sign-up took of processors: in workers, and in PostgreSQL with its log; `sizing`
what that comes to at 1,000 and 100,000 sign-ups a second. docs/performance.md explains it.
"""

import argparse
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks.deliveries.contest import (
    Database,
    cpu_s,
    create_database,
    per_second,
    wait_until_idle,
)
from benchmarks.deliveries.usher import Real, Usher, let_go
from benchmarks.rounds import alternating, parser, report, spread
from benchmarks.served import prepare, worker
from benchmarks.servers import DurablePostgres, running

LOOK_EVERY_S = 0.05
RATES = (1_000, 100_000)
BUSY = 0.7  # of a processor: beyond it queues grow
COUNTS = ("deadlocks", "xact_commit", "xact_rollback")


def main() -> None:
    """Measure and print."""
    options = _options()
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        server = stack.enter_context(running(DurablePostgres))
        url = create_database(server.url, "own")
        os.environ |= {"DATABASE_URL": url, "EMAIL_URL": "dummymail://"}
        prepare(directory, 1, settings="benchmarks.settings")
        work = {"bare": Usher(url), "newcomer_coupon": Real(url, "real")}
        chosen = [(name, machines) for name in work for machines in options.machines]
        rounds: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for _, (name, machines) in alternating(chosen, options.rounds):
            measured = _measure(work[name], options.events, machines, server.directory / "data")
            rounds.setdefault((name, machines), []).append(measured)
    figures = {f"{name}_{machines}": _summary(each) for (name, machines), each in rounds.items()}
    fewest = min(options.machines)
    report(
        "scaling",
        options,
        machines=figures,
        sizing=_sizing(figures[f"newcomer_coupon_{fewest}"]),
    )


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--events", type=int, default=10_000)
    made.add_argument("--machines", nargs="+", type=int, default=[1, 2, 4])
    return made.parse_args()


def _measure(contestant: Usher, events: int, machines: int, data: Path) -> dict[str, Any]:
    """Let some machines work off a backlog; return the rate, the waits and the costs."""
    first = contestant.publish("coupon", events)
    held_back = contestant.hold_back("coupon")
    contestant.database.tidy()
    queue = contestant.queues["coupon"]
    with ExitStack() as stack:
        for _ in range(machines):
            stack.enter_context(worker(queue, QUEUE_WORKERS="1"))
        wait_until_idle()  # what starting costs is behind them
        before, spent = _counts(contestant.database), _spent_s(data)
        with _waits(contestant.database.url) as waits:
            let_go(held_back)
            contestant.wait_for_all("coupon")
        after, spent_after = _counts(contestant.database), _spent_s(data)
    return {
        "per_s": per_second(contestant.moments("coupon", first)),
        "waits": dict(waits),
        **{name: float(after[name] - before[name]) for name in COUNTS},
        "wal_bytes_each": (after["wal"] - before["wal"]) / events,
        **{f"{part}_us_each": (spent_after[part] - spent[part]) / events * 1e6 for part in spent},
    }


def _counts(database: Database) -> dict[str, int]:
    """Return what the server has counted, and how much log it has written."""
    row = database.all(
        f"SELECT {', '.join(COUNTS)}, (pg_current_wal_lsn() - '0/0')::bigint "  # noqa: S608
        "FROM pg_stat_database WHERE datname = current_database()"
    )[0]
    return dict(zip((*COUNTS, "wal"), row, strict=True))


def _spent_s(data: Path) -> dict[str, float]:
    """Return the processor seconds that workers and PostgreSQL have taken so far."""
    postmaster = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
    servers = {postmaster, *postmaster.children(recursive=True)}
    workers = set(psutil.Process().children(recursive=True)) - servers
    return {"worker": sum(map(cpu_s, workers)), "postgres": sum(map(cpu_s, servers))}


@contextmanager
def _waits(url: str) -> Iterator[Counter[str]]:
    """Look during a block, time and again, what the sessions of workers wait for.

    Counted is the share of looks at working sessions, in percent.
    """
    seen: Counter[str] = Counter()
    over = threading.Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as session:
            while not over.wait(LOOK_EVERY_S):
                seen.update(kind or "runs" for (kind,) in session.execute(_WAITS))

    thread = threading.Thread(target=look)
    thread.start()
    percent: Counter[str] = Counter()
    try:
        yield percent
    finally:
        over.set()
        thread.join()
        looks = max(1, sum(seen.values()))
        percent.update({kind: round(100 * count / looks) for kind, count in seen.items()})


_WAITS = """
SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'
"""


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    figures = {
        name: spread([each[name] for each in rounds]) for name in rounds[0] if name != "waits"
    }
    kinds = sorted({kind for each in rounds for kind in each["waits"]})
    waits = {kind: spread([each["waits"].get(kind, 0) for each in rounds]) for kind in kinds}
    return {**figures, "waits_percent": waits}


def _sizing(cost: dict[str, Any]) -> dict[str, Any]:
    """Return what rates of sign-ups come to, from what one newcomer's coupon costs."""
    worker_us = cost["worker_us_each"]["median"]
    postgres_us = cost["postgres_us_each"]["median"]
    return {
        f"{rate}_per_s": {
            "worker_processors": round(rate * worker_us / 1e6 / BUSY, 1),
            "postgres_processors": round(rate * postgres_us / 1e6 / BUSY, 1),
            "log_mb_per_s": round(rate * cost["wal_bytes_each"]["median"] / 1e6, 1),
        }
        for rate in RATES
    }


if __name__ == "__main__":
    main()
