"""A lock between processes that ends with its holder: flock(2) on a file."""

import fcntl
import os
import threading
import time
import weakref
from io import FileIO
from pathlib import Path

POLL_S = 0.0003  # short against the pause drains make, so that a waiter gets its turn
MODE = 0o666  # less the umask: web and workers may run as different users of one group

_open_locks: "weakref.WeakSet[FileLock]" = weakref.WeakSet()
_turns: dict[Path, threading.Lock] = {}  # of this process: one of its threads polls, not all


class FileLock:
    """An exclusive lock on a path. One object per connection; not re-entrant, not for sharing.

    A process that dies releases it. flock has no fair queue and no time limit of its own,
    so waiting is a bounded poll, by one thread of each process: a hundred that polled would
    leave no processor time to the one that holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._turn = threading.Lock()
        self.held = False

    def acquire(self, timeout_s: float) -> bool:
        """Take the lock. Return False where others held it for `timeout_s`."""
        file = self._open()
        deadline = time.monotonic() + timeout_s
        if not self._turn.acquire(timeout=timeout_s):
            return False
        try:
            self.held = _lock_before(deadline, file)
        finally:
            if not self.held:
                self._turn.release()
        return self.held

    def release(self) -> None:
        """Let the next one in. Harmless where the lock is not held."""
        if self.held and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._let_the_next_thread_in()

    def close(self) -> None:
        """Close the file, and with it release the lock."""
        if self._file is not None:
            self._file.close()
        self._file = None
        if self.held:
            self._let_the_next_thread_in()

    def __del__(self) -> None:
        self.close()  # a connection that is dropped, or a thread that ends, keeps no lock

    def _open(self) -> FileIO:
        if self._file is None:
            self._file = FileIO(self.path, "a", opener=_open_file)
            self._turn = _turns.setdefault(self.path, threading.Lock())
            _open_locks.add(self)
        return self._file

    def _let_the_next_thread_in(self) -> None:
        self.held = False
        self._turn.release()


def _open_file(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, MODE)


def _lock_before(deadline: float, file: FileIO) -> bool:
    while not _try_lock(file):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _try_lock(file: FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _close_inherited() -> None:
    # A forked child shares its parent's open files, and so its locks, beyond the parent's death.
    for lock in list(_open_locks):
        lock.close()
    _turns.clear()  # whose turn it was is a thread's that the child has not


os.register_at_fork(after_in_child=_close_inherited)
