"""A whole Usher of a scenario's own: database, broker, and what to start and to ask."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from benchmarks.served import prepare
from tests.servers.client import DIRECTORY, RunningHost, Server, new_server

POLL_S = 0.02
GIVE_UP_AFTER_S = 180.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where a scenario takes place. The servers are its own: it may stop them."""

    directory: Path
    seconds: float  # how long an outage lasts
    rate_per_s: float  # of sign-ups
    database: Server | None  # None: SQLite
    broker: Server | None  # None: the database

    @property
    def on_sqlite(self) -> bool:
        """Tell whether the database is a SQLite file."""
        return self.database is None


@contextmanager
def site(
    database: str, broker: str, *, seconds: float, rate_per_s: float, workers: int
) -> Iterator[Site]:
    """Start the servers, migrate, open a campaign; set Django up in this process."""
    host = RunningHost()
    os.environ[DIRECTORY] = str(host.directory)
    directory = Path(
        tempfile.mkdtemp(prefix="usher-recovery-", dir="/tmp")
    )  # short: it holds sockets
    os.environ.pop("DATABASE_URL", None)
    try:
        postgres = new_server("postgres")[0] if database == "postgres" else None
        valkey = new_server("valkey")[0] if broker == "redis" else None
        if postgres:
            os.environ["DATABASE_URL"] = postgres.url
        os.environ["QUEUE_BROKER"] = broker
        if valkey:
            os.environ["REDIS_URL"] = valkey.url
        prepare(str(directory), workers, settings="benchmarks.recovery.settings")
        yield Site(directory, seconds, rate_per_s, postgres, valkey)
    finally:
        host.close()
        shutil.rmtree(directory, ignore_errors=True)


def seconds_until(
    condition: Callable[[], Any], since: float, give_up_after_s: float = GIVE_UP_AFTER_S
) -> float:
    """Return the seconds from `since` (monotonic) until the condition holds."""
    while not condition():
        if time.monotonic() - since > give_up_after_s:
            raise TimeoutError(f"it did not come true within {give_up_after_s:g} s")
        time.sleep(POLL_S)
    return time.monotonic() - since


def judged(measured_s: float, target_s: float, **conditions: bool) -> dict[str, Any]:
    """Return a measured time beside its target, and what else must hold."""
    ok = measured_s <= target_s and all(conditions.values())
    seconds = round(measured_s, 2) if isfinite(measured_s) else None  # never, while it was watched
    return {"seconds": seconds, "target_s": target_s, "ok": ok, **conditions}
