"""The peers, each in processes of its own Python environment."""

import os
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.deliveries.contest import Database, create_database, per_second, process, wait_for
from benchmarks.served import ROOT

ON_POSTGRES = (
    "django_q_orm",
    "django_q_redis",
    "celery",
    "dramatiq",
    "procrastinate",
    "domain_events",
)
ON_SQLITE = ("django_q_orm",)
EFFECTS = {"coupon": "coupon", "points": "entry"}


class Peer:
    """A peer with a database, and maybe a Redis, of its own."""

    def __init__(
        self, name: str, python: str, server_url: str, redis_url: str, number: int, directory: Path
    ) -> None:
        self.name, self.python, self.directory = name, python, directory
        on_sqlite = server_url.startswith("sqlite")
        url = (
            f"sqlite://{directory / name}.sqlite3"
            if on_sqlite
            else create_database(server_url, name)
        )
        self.database = Database(url)
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
            "DATABASE_URL": url,
            "REDIS_URL": urlsplit(redis_url)._replace(path=f"/{number}").geturl(),
            "PYTHONPATH": str(ROOT),
        }
        self._run("prepare")

    def __str__(self) -> str:
        return self.name

    def backlog(self, kind: str, events: int, processes: int) -> float:
        """Return how many a second are worked off of what waited."""
        self._clear()
        self._run("publish", kind, str(events))
        self.database.tidy()
        with self.workers(processes):
            self._wait_for_all(kind, events)
        return per_second(self._moments(kind))

    def live(self, kind: str, events: int, processes: int) -> float:
        """Return how many a second come from sign-up to effect."""
        self._clear()
        self.database.tidy()
        with self.workers(processes):
            self._warm_up(kind)
            began = self._publish_live(kind, events)
            self._wait_for_all(kind, events + 1)
        return events / (max(self._moments(kind)) - began)

    def _warm_up(self, kind: str) -> None:
        """Wait until the workers have done something."""
        self._run("publish", kind, "1")
        self._wait_for_all(kind, 1)

    def _publish_live(self, kind: str, events: int) -> float:
        command = [*self.command("publish", kind, str(events)), "--live"]
        with subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, cwd=ROOT
        ) as running:
            assert running.stdout is not None
            running.stdout.readline()  # imports are behind it
            began = time.time()
        assert running.returncode == 0
        return began

    def _wait_for_all(self, kind: str, events: int) -> None:
        count = f"SELECT count(*) FROM {EFFECTS[kind]}"  # noqa: S608
        wait_for(lambda: int(self.database.one(count)), events)

    def _moments(self, kind: str) -> list[float]:
        moments = f"SELECT at FROM {EFFECTS[kind]}"  # noqa: S608
        return [at for (at,) in self.database.all(moments)]

    def _clear(self) -> None:
        for table in ("signup", "inbox", "coupon", "entry", "balance"):
            self.database.all(f"DELETE FROM {table}")  # noqa: S608

    def workers(self, processes: int) -> AbstractContextManager[None]:
        """Run the peer's workers during a block."""
        command = [*self.command("work"), "--processes", str(processes)]
        environment = {**self.environment, "QUEUE_WORKERS": str(processes)}
        return process(command, environment, self.directory / f"{self.name}.log")

    def _run(self, *arguments: str) -> None:
        command = self.command(*arguments)
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, check=False, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")

    def command(self, *arguments: str) -> list[str]:
        """Return the command of an action of the peer's."""
        return [self.python, "-m", "benchmarks.peers", self.name, *arguments]
