"""A lock between processes that ends with its holder: flock(2) on a file."""

import fcntl
import os
import time
from pathlib import Path

POLL_S = 0.0003  # short against the pause drains make, so that a waiter gets its turn


class FileLock:
    """An exclusive lock on a path. One object per connection; not re-entrant, not for sharing.

    A process that dies releases it. flock has no fair queue and no time limit of its own,
    so waiting is a bounded poll.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._pid = 0
        self.held = False

    def acquire(self, timeout_s: float) -> bool:
        """Take the lock. Return False where others held it for `timeout_s`."""
        descriptor = self._open()
        deadline = time.monotonic() + timeout_s
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        self.held = True
        return True

    def release(self) -> None:
        """Let the next one in. Harmless where the lock is not held."""
        if self.held and self._descriptor is not None and self._pid == os.getpid():
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.held = False

    def close(self) -> None:
        """Release the lock and the file."""
        self.release()
        if self._descriptor is not None and self._pid == os.getpid():
            os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> int:
        # A forked child shares its parent's open file and so its lock: it needs one of its own.
        if self._descriptor is None or self._pid != os.getpid():
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._pid = os.getpid()
            self.held = False
        return self._descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
