"""What all contestants share: a database of their own, and how their work is measured."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg

GIVE_UP_AFTER_S = 600.0
POLL_S = 0.1
IDLE_S, LOOKS = 0.1, 10  # processor seconds, within so many looks
STRETCH = (0.1, 0.9)  # of what is done


class Database:
    """A contestant's database, asked without Django: PostgreSQL, or a SQLite file."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.on_sqlite = url.startswith("sqlite")
        self._session: psycopg.Connection[Any] | None = None

    def all(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        if self.on_sqlite:
            import sqlite3

            connection = sqlite3.connect(urlsplit(self.url).path, timeout=60)
            try:
                with connection:
                    return connection.execute(sql).fetchall()
            finally:
                connection.close()
        if self._session is None:  # kept: to connect costs more than to ask
            self._session = psycopg.connect(self.url, autocommit=True)
        cursor = self._session.execute(sql)
        return cursor.fetchall() if cursor.description else []

    def one(self, sql: str) -> Any:
        """Return the only value of a statement."""
        return self.all(sql)[0][0]

    def tidy(self) -> None:
        """Put the work of earlier rounds behind, so that none pays for another's."""
        for statement in ["ANALYZE"] if self.on_sqlite else ["VACUUM ANALYZE", "CHECKPOINT"]:
            self.all(statement)


def create_database(server_url: str, name: str, template: str = "template1") -> str:
    """Create a database beside the one of the URL; return its URL."""
    with psycopg.connect(server_url, autocommit=True) as session:
        session.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def wait_for(count: Callable[[], int], wanted: int) -> None:
    """Return once there are as many as wanted."""
    deadline = time.monotonic() + GIVE_UP_AFTER_S
    while (found := count()) < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found} of {wanted} were done after {GIVE_UP_AFTER_S:g} s")
        time.sleep(POLL_S)


def wait_until_idle() -> None:
    """Return once the processes started by this one have done hardly anything for some looks."""
    looks: list[dict[psutil.Process, float]] = []

    def is_idle() -> bool:
        looks.append({each: cpu_s(each) for each in psutil.Process().children(recursive=True)})
        if len(looks) <= LOOKS:
            return False
        before = looks[-1 - LOOKS]
        grown_s = sum(at - before.get(each, 0.0) for each, at in looks[-1].items())
        return grown_s < IDLE_S

    wait_for(lambda: int(is_idle()), 1)


def cpu_s(process: psutil.Process) -> float:
    """Return the processor seconds of a process; none of one that has ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def per_second(moments: Sequence[float]) -> float:
    """Return the rate of the middle of what was done, from when each was done.

    Before it some of the workers are still starting, after it some have nothing left to do.
    """
    in_order = sorted(moments)
    first, last = (in_order[int(share * (len(in_order) - 1))] for share in STRETCH)
    return sum(first < moment <= last for moment in moments) / max(last - first, 1e-3)


@contextmanager
def process(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a process during a block. Its last words are shown where it ended by itself."""
    with log.open("ab") as output:
        running = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield
            if running.poll() is not None:
                sys.stderr.write(log.read_text(errors="replace")[-2000:])
        finally:
            running.terminate()
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
