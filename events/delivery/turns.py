"""On SQLite, drains take turns: a sign-up then competes with one writer at most, and it pauses."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection

from events.filelock import FileLock

PAUSE_S = 0.001
TURN_TIMEOUT_S = 10.0  # below the time after which a cluster counts as stuck

_of_thread = threading.local()  # a lock is nobody else's: see FileLock


@contextmanager
def turn() -> Iterator[None]:
    """Run one writing block of a drain. On databases with many writers this does nothing."""
    if connection.vendor != "sqlite":
        yield
        return
    lock = _lock(str(connection.settings_dict["NAME"]))
    lock.acquire(TURN_TIMEOUT_S)  # turns are a courtesy: without one the block runs all the same
    try:
        yield
    finally:
        time.sleep(PAUSE_S)  # with the turn kept: only sign-ups write now
        lock.release()


def _lock(database: str) -> FileLock:
    locks: dict[str, FileLock] = _of_thread.__dict__.setdefault("locks", {})
    if database not in locks:
        locks[database] = FileLock(Path(f"{database}.drain-lock"))
    return locks[database]
