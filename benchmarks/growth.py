"""Whether Usher stays as fast as its history grows: the same work on more and more kept events.

    python -m benchmarks.growth [--sizes 10000 1000000 10000000] [--rounds 5] [--times 20]

PostgreSQL; the history is loaded by COPY (`benchmarks.history`: some minutes for each million).
What grows is for how long events have been kept: as many come in a minute whatever the size, so
that the largest goes back ninety days, and as much that failed is not seen to. `--denser` lets all
go back ninety days: then a larger history has more in each minute, and more that has failed.

Measured in this process, medians of rounds: to sign up (without the password's hash), to publish
a newcomer's event, to claim a hundred deliveries, to drain a hundred (each), a sweep as it is every
second and one that does everything it ever does, `explain` of a person, the status of all
receivers, and pages that staff look at. Sizes are compared within each round. Then, of the largest,
`prune_events`: alone, and beside drains, whose p95 it must not harm. They run beside it and while
it holds still, by turns: both are of the same minutes. And the size of tables and indexes for each
event.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from benchmarks.deliveries.contest import Database, create_database
from benchmarks.rounds import alternating, judged, parser, report, spread
from benchmarks.served import ROOT, percentiles_ms, prepare
from benchmarks.servers import DurablePostgres, running

BATCH = 100
FLAT = 1.1
PRUNE_TARGET_PER_S = 20_000
HARM = 1.2
# Of what takes a few ms, one says little.
MORE_TIMES = {"sign_up": 10, "publish": 10, "sweep_each_second": 5}
PAGES = ("/admin/", "/admin/events/delivery/", "/admin/events/event/", "/metrics")
IN_TURN = 10  # drains beside a prune, and as many while it holds still
POLL_S = 0.001
# A tenth of what ten million events leave is two million rows.
PRUNED_SHARES = (0.1, 0.2)  # of finished deliveries: first alone, then beside drains


def main() -> None:
    """Measure and print."""
    options = _options()
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        server = stack.enter_context(running(DurablePostgres))
        os.environ |= {
            "DATABASE_URL": create_database(server.url, "empty"),
            "EMAIL_URL": "dummymail://",
            "USHER_WORKER": "1",
        }
        prepare(directory, 1, settings="benchmarks.settings")
        histories = [_load(options, size, server.url) for size in sorted(options.sizes)]
        sizes = _measure(options, histories)
        histories[-1].use()
        prune = _prune(options, histories[-1].database)
    report(
        "growth",
        options,
        sizes=sizes,
        prune=prune,
        judgement={**_judge_growth(sizes), **_judge_prune(prune)},
    )


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--sizes", nargs="+", type=int, default=[10_000, 1_000_000, 10_000_000])
    made.add_argument("--times", type=int, default=20, help="of each in each round")
    made.add_argument("--denser", action="store_true", help="all go back ninety days")
    return made.parse_args()


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """A database of its own with so many events, of so many days."""

    size: int
    days: float
    database: Database
    # Kept: to connect anew, and to search from the beginning, would be measured too.
    connection: Any
    floors: dict[str, Any] = field(default_factory=dict)
    loading_s: float = 0

    def __str__(self) -> str:
        return f"{self.size} events"

    def use(self) -> None:
        """Let this process use the database, and those that it starts."""
        from django.db import connections

        from events.delivery import floors

        os.environ["DATABASE_URL"] = self.database.url
        connections.settings["default"]["NAME"] = str(self.size)  # of what other threads open
        connections["default"] = self.connection
        floors._floors = self.floors  # hints of one database are none of another's


def _load(options: argparse.Namespace, size: int, server_url: str) -> _History:
    """Copy the database that is migrated, and fill the copy."""
    from django.db import connection

    from benchmarks.history.loading import load

    connection.close()  # a database is not copied while somebody uses it
    database = Database(create_database(server_url, str(size), template="empty"))
    days, shortest = _days(options, size), _days(options, min(options.sizes))
    history = _History(
        size=size, days=days, database=database, connection=_connection_to(str(size))
    )
    history.use()
    loaded = load(events=size, days=days, failing_days=shortest)
    database.tidy()
    return replace(history, loading_s=round(loaded.seconds, 1))


def _connection_to(name: str) -> Any:
    """Return what Django takes for a connection, to another database of the same server."""
    from django.db import connections

    made = connections.create_connection("default")
    made.settings_dict = {**connections.settings["default"], "NAME": name}
    return made


def _days(options: argparse.Namespace, size: int) -> float:
    """Return how far a history of some size goes back."""
    from benchmarks.history.loading import DAYS

    return DAYS if options.denser else DAYS * size / max(options.sizes)


def _measure(options: argparse.Namespace, histories: list[_History]) -> dict[int, dict[str, Any]]:
    """Measure all sizes in turns, call by call: a machine is not as fast from second to second."""
    works = _works(histories)
    rounds: dict[int, dict[str, list[float]]] = {each.size: defaultdict(list) for each in histories}
    for _, name in alternating(_Work.names, options.rounds):
        took_s: dict[int, list[float]] = {each.size: [] for each in histories}
        for turn in range(1 + options.times * MORE_TIMES.get(name, 1)):
            for history in histories if turn % 2 else reversed(histories):
                history.use()
                took_s[history.size].append(works[history.size].calls[name]())
        for size, each_s in took_s.items():
            rounds[size][name].append(median(each_s[1:]) * 1000)  # the first warms up
    return {each.size: _figures(each, rounds[each.size]) for each in histories}


def _works(histories: list[_History]) -> dict[int, "_Work"]:
    works: dict[int, _Work] = {}
    for history in histories:
        history.use()
        works[history.size] = _Work()
    return works


def _figures(history: _History, rounds: dict[str, list[float]]) -> dict[str, Any]:
    history.use()
    return {
        "events": history.database.one("SELECT count(*) FROM events_event"),  # and what was added
        "dead_deliveries": history.database.one(
            "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'events_delivery'"
        ),
        "days": round(history.days, 3),
        "loading_s": history.loading_s,
        "ms": {name: spread(values, 3) for name, values in rounds.items()},
        "bytes_per_event": _bytes_per_event(history.database),
    }


class _Work:
    """What is measured: each call does its preparation and returns the seconds of the rest."""

    names: ClassVar = (
        *("sign_up", "publish", "claim_100", "drain_each"),
        *("sweep_each_second", "sweep_of_everything", "explain", "status"),
        *(f"page {page}" for page in PAGES),
    )

    def __init__(self) -> None:
        from django.contrib.auth import get_user_model
        from django.test import Client

        from benchmarks.deliveries.usher import Real

        user: Any = get_user_model()
        self.people = list(
            user.objects.filter(registered_at__isnull=False).values_list("email", flat=True)[:1000]
        )
        self.real = Real(os.environ["DATABASE_URL"], "growth")
        self.client = Client()
        self.client.force_login(
            user.objects.filter(is_superuser=True).first()
            or user.objects.create_superuser(email="admin@example.com", password=None)
        )
        calls: list[Callable[[], float]] = [
            *(self.sign_up, self.publish, self.claim, self.drain),
            *(self.sweep_each_second, self.sweep_of_everything, self.explain, self.status),
            *(partial(self.page, page) for page in PAGES),
        ]
        self.calls = dict(zip(self.names, calls, strict=True))

    def sign_up(self) -> float:
        """What `publish` measures and, in the same transaction, the account."""
        return _seconds(lambda: self.real.sign_up_one("coupon"))

    def publish(self) -> float:
        """One newcomer's event with a delivery for each receiver, the bells, and the commit."""
        from django.db import transaction

        from accounts.signals import user_registered

        newcomers = self.real.newcomers(1)
        return _seconds(lambda: transaction.atomic()(user_registered.publish_many)(newcomers))

    def claim(self) -> float:
        """A hundred deliveries under a lease. What was published is drained before and after."""
        from events.delivery.claim import claim
        from events.delivery.settle import hand_back

        self._drain_all()
        self.real.publish("coupon", BATCH)
        claimed: list[Any] = []
        seconds = _seconds(lambda: claimed.extend(claim("coupons", BATCH)))
        hand_back(claimed)
        return seconds

    def drain(self) -> float:
        """A hundred newcomers' coupons: seconds of each delivery."""
        from events.delivery.drain import drain

        self._drain_all()
        self.real.publish("coupon", BATCH)
        done: list[int] = []
        seconds = _seconds(lambda: done.append(drain("coupons", 60)))
        return seconds / done[0]

    def sweep_each_second(self) -> float:
        """What the sweep does every second."""
        from events.delivery import sweep

        return _seconds(sweep.sweep)

    def sweep_of_everything(self) -> float:
        """What the sweep does in the turns in which it does everything: one in three hundred."""
        from events.delivery import sweep

        def everything() -> None:
            sweep.sweep()
            sweep.wake_unblocked()
            sweep.take_stock()
            sweep.look_through_open_deliveries()

        return _seconds(everything)

    def explain(self) -> float:
        """The story of somebody."""
        from events.operations.explain import story_of_user

        email = random.choice(self.people)  # noqa: S311
        return _seconds(lambda: story_of_user(email))

    def status(self) -> float:
        """What `events_status` shows."""
        from events.operations.status import receiver_statuses

        return _seconds(receiver_statuses)

    def page(self, path: str) -> float:
        """A page that staff look at."""

        def get() -> None:
            answer = self.client.get(path, REMOTE_ADDR="127.0.0.1")
            assert answer.status_code == 200, (path, answer.status_code)

        return _seconds(get)

    def _drain_all(self) -> None:
        """Work off what is owed to coupons, and take what others are owed (mails …) for done."""
        from django.db.models.functions import Now

        from events.delivery.drain import drain
        from events.models import Delivery, DeliveryState

        drain("coupons", 60)
        Delivery.objects.filter(due_at__lte=Now()).update(
            state=DeliveryState.DONE, due_at=None, finished_at=Now()
        )


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _bytes_per_event(database: Database) -> dict[str, Any]:
    """Return what tables and their indexes take on the disk, for each event."""
    events = database.one("SELECT count(*) FROM events_event")
    sizes = database.all(
        "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
        "AND pg_total_relation_size(oid) > 1000000 ORDER BY pg_total_relation_size(oid) DESC"
    )
    return {
        name: {"table": round(table / events), "indexes": round(indexes / events)}
        for name, table, indexes in sizes
    }


def _prune(options: argparse.Namespace, database: Database) -> dict[str, Any]:
    """Prune a tenth alone, and another beside drains."""
    work = _Work()
    first, second = (_moment(database, share) for share in PRUNED_SHARES)
    before = [BATCH * work.drain() for _ in range(options.rounds * options.times)]
    alone = _prune_before(first)
    without, beside = _drain_in_turns(work, second)
    return {
        "alone": alone,
        "drain_100_before": percentiles_ms(before),
        "drain_100_without": percentiles_ms(without),
        "drain_100_beside": percentiles_ms(beside),
    }


def _drain_in_turns(work: "_Work", before: str) -> tuple[list[float], list[float]]:
    """Drain beside a prune and while it holds still, by turns, until all is pruned."""
    without: list[float] = []
    beside: list[float] = []
    with tempfile.TemporaryDirectory(dir="/tmp") as directory, ExitStack() as stack:
        gate = _Gate(Path(directory))
        pruning = subprocess.Popen(_command(before, gate), cwd=ROOT, stdout=subprocess.DEVNULL)
        stack.callback(pruning.kill)  # where a drain fails
        while gate.close_and_wait(pruning):
            without += [BATCH * work.drain() for _ in range(IN_TURN)]
            gate.open_and_wait(pruning)
            for _ in range(IN_TURN):
                seconds = BATCH * work.drain()
                if pruning.poll() is None or not beside:  # it pruned all the time, or is short
                    beside.append(seconds)
        assert pruning.wait() == 0
    return without, beside


@dataclass(frozen=True, slots=True)
class _Gate:
    """Where a prune holds still between two transactions, while it is closed."""

    directory: Path

    def pass_through(self, rows: int = 0) -> None:
        """Wait until it is open. The prune does this, after each transaction and its pause."""
        while self._closed.exists():
            self._held.touch()
            time.sleep(POLL_S)
        self._held.unlink(missing_ok=True)

    def close_and_wait(self, pruning: "subprocess.Popen[bytes]") -> bool:
        """Return whether the prune holds still, or False where it has ended."""
        self._closed.touch()
        return self._wait(pruning, held=True)

    def open_and_wait(self, pruning: "subprocess.Popen[bytes]") -> None:
        """Return once the prune goes on."""
        self._closed.unlink()
        self._wait(pruning, held=False)

    def _wait(self, pruning: "subprocess.Popen[bytes]", *, held: bool) -> bool:
        while pruning.poll() is None:
            if self._held.exists() == held:
                return True
            time.sleep(POLL_S)
        return False

    @property
    def _closed(self) -> Path:
        return self.directory / "closed"

    @property
    def _held(self) -> Path:
        return self.directory / "held"


def _moment(database: Database, share: float) -> str:
    """Return the moment before which a share of all finished deliveries lies."""
    moment = database.one(
        f"SELECT percentile_disc({share}) WITHIN GROUP (ORDER BY e.occurred_at) "  # noqa: S608
        "FROM events_delivery d JOIN events_event e USING (event_id) WHERE finished_at IS NOT NULL"
    )
    return str(moment.isoformat())


def _prune_before(moment: str, progress: Callable[[int], None] = lambda rows: None) -> Any:
    from events.operations.prune import prune

    began = time.monotonic()
    pruned = prune(datetime.fromisoformat(moment), progress=progress)
    seconds = time.monotonic() - began
    rows = pruned.deliveries + pruned.attempts
    return {"rows": rows, "seconds": round(seconds, 2), "rows_per_s": round(rows / seconds)}


def _command(moment: str, gate: _Gate) -> list[str]:
    """Return the command of a process that prunes, as `prune_events` does, and minds a gate."""
    script = (
        "import django; django.setup()\n"
        "from pathlib import Path; from benchmarks.growth import _Gate, _prune_before\n"
        f"gate = _Gate(Path({str(gate.directory)!r})); gate.pass_through()\n"
        f"_prune_before({moment!r}, gate.pass_through)"
    )
    return [sys.executable, "-c", script]


def _judge_growth(sizes: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Judge the median of what is compared within each round: the others against the smallest."""
    smallest, *others = sorted(sizes)
    return {
        f"{name}_beside_{size}": _judge_pairs(sizes[size]["ms"][name], sizes[smallest]["ms"][name])
        for name in _Work.names
        for size in others
    }


def _judge_pairs(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    times = [each / beside for each, beside in _pairs(one, other)]
    figure = judged(round(median(times), 3), at_most=FLAT)
    return {**figure, "rounds": [round(value, 2) for value in times]}


def _pairs(one: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[float, float]]:
    return zip(one["rounds"], other["rounds"], strict=True)


def _judge_prune(prune: dict[str, Any]) -> dict[str, Any]:
    judgement = {"pruned_per_s": judged(prune["alone"]["rows_per_s"], at_least=PRUNE_TARGET_PER_S)}
    times = prune["drain_100_beside"]["p95_ms"] / prune["drain_100_without"]["p95_ms"]
    judgement["drain_p95_beside_prune"] = judged(round(times, 2), at_most=HARM)
    return judgement


if __name__ == "__main__":
    main()
