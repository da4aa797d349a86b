"""Carries out a plan: one thread kills processes, another breaks what they stand on."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil
import psycopg
import redis

from tests.faults.chaos.clients import Progress
from tests.faults.chaos.fleet import Fleet
from tests.faults.chaos.plan import KILLS, Plan, Step
from tests.servers.client import Server

LEAD = 2  # kills' worth of people who may begin before a kill is carried out
PATIENCE_S = 3.0  # for a victim of the planned role to be there; then another dies
RETRY_S = 0.1
BACKENDS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY backend_start, pid
"""


class Killer:
    """The two threads."""

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet,
        progress: Progress,
        *,
        postgres: Server | None,
        valkey: Server | None,
    ) -> None:
        self.faults: Counter[str] = Counter()
        self._plan = plan
        self._fleet = fleet
        self._progress = progress
        self._postgres = postgres
        self._valkey = valkey
        self._threads = [
            threading.Thread(target=self._kill_all, name="killer"),
            threading.Thread(target=self._break_all, name="faults"),
        ]
        self._do: dict[str, Callable[[Step], object]] = {
            "pause worker": self._pause_worker,
            "terminate backend": self._terminate_backend,
            "restart postgres": lambda step: _restart(self._postgres, step.for_s / 2),
            "restart valkey": lambda step: _restart(self._valkey, step.for_s),
            "pause valkey": self._pause_valkey,
            "flush valkey": self._flush_valkey,
        }

    def start(self) -> None:
        """Begin."""
        self._let_people_up_to_kill(0)
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Return once the whole plan is carried out."""
        for thread in self._threads:
            thread.join()

    def _kill_all(self) -> None:
        for number, step in enumerate(self._plan.kills):
            self._progress.wait_for(step.after)
            self._kill(step)
            self._let_people_up_to_kill(number + 1)

    def _let_people_up_to_kill(self, number: int) -> None:
        """Hold people back until kills are carried out: the plan counts people, not seconds."""
        ahead = self._plan.kills[number + LEAD :][:1]
        self._progress.allow(ahead[0].after if ahead else self._plan.registrations)

    def _kill(self, step: Step) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self._fleet.kill(step.kind, step.pick):
            if time.monotonic() > deadline and any(self._fleet.kill(r, step.pick) for r in KILLS):
                return
            time.sleep(RETRY_S)

    def _break_all(self) -> None:
        for step in self._plan.faults:
            self._progress.wait_for(step.after)
            if self._do[step.kind](step) is not False:
                self.faults[step.kind] += 1

    def _pause_worker(self, step: Step) -> bool:
        workers = self._fleet.processes("worker")
        if not workers:
            return False
        worker = workers[int(step.pick * len(workers))]
        with suppress(psutil.NoSuchProcess):  # killed meanwhile
            worker.send_signal(signal.SIGSTOP)
            time.sleep(step.for_s)
            worker.send_signal(signal.SIGCONT)
        return True

    def _terminate_backend(self, step: Step) -> bool:
        assert self._postgres is not None
        with suppress(psycopg.OperationalError), psycopg.connect(self._postgres.url) as connection:
            pids = [pid for (pid,) in connection.execute(BACKENDS).fetchall()]
            if pids:
                victim = pids[int(step.pick * len(pids))]
                connection.execute("SELECT pg_terminate_backend(%s)", [victim])
                return True
        return False

    def _pause_valkey(self, step: Step) -> None:
        assert self._valkey is not None
        self._valkey.pause()
        time.sleep(step.for_s)
        self._valkey.resume()

    def _flush_valkey(self, step: Step) -> None:
        assert self._valkey is not None
        with redis.Redis.from_url(self._valkey.url) as client:
            client.flushall()


def _restart(server: Server | None, after_s: float) -> None:
    assert server is not None
    server.stop()  # PostgreSQL: the immediate way, which its clients see as a crash
    time.sleep(after_s)
    server.start()
