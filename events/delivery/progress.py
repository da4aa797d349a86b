"""What a cluster is doing, told to its supervisor through shared memory.

django-q2's own heartbeat comes from its guard, and stays fresh while the cluster is frozen: a
worker killed while it waits for a task keeps the queue's lock for ever (django-q2#23). So the
pusher and the drains, which do the work, stamp a small file that supervisor and cluster map.

Times are of the monotonic clock, which all processes of a machine share. Besides, each running
drain holds a lock on a part of the file: a lock ends with its process, a stamp would not.
"""

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path

from django.conf import settings

VARIABLE = "USHER_PROGRESS"  # the environment variable that names the file
PATIENCE_S = 10.0  # between two stamps of healthy work
START_S = 2 * PATIENCE_S  # from a cluster's start to its first look for bells
WRITE_LOCK_S = 5.0  # SQLite's blocks are short, and a receiver's limit there is 2 s

_LOOKED, _TAKEN, _BEGUN, _BUSY_UNTIL, _LOCKED_AT, _LOCKED_BY = range(6)
_SLOTS = range(128)  # one for each running drain: its process, and when its call is overdue
_PID, _OVERDUE_AT = 6, 6 + len(_SLOTS)
_FIELDS = 6 + 2 * len(_SLOTS)
_SIZE_BYTES = 8


class Progress:
    """Some numbers in shared memory. Each is written whole, so no lock is needed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b")
        self._memory = mmap.mmap(self._file.fileno(), _FIELDS * _SIZE_BYTES)
        self._slot: int | None = None

    def __del__(self) -> None:
        self._file.close()

    @staticmethod
    def create(path: Path, *, start_s: float = START_S) -> "Progress":
        """Make a cluster's file. Until it has started, for `start_s`, the cluster counts as busy.

        It is a new file: whoever maps a former cluster's must not lose it underfoot (SIGBUS).
        """
        path.unlink(missing_ok=True)
        path.write_bytes(bytes(_FIELDS * _SIZE_BYTES))
        progress = Progress(path)
        progress._set(_BUSY_UNTIL, time.monotonic() + start_s)
        return progress

    def looked(self) -> None:
        """Stamp: the pusher looks for bells."""
        self._set(_LOOKED, time.monotonic())

    @property
    def has_come_up(self) -> bool:
        """Tell whether the cluster got so far as to look for bells."""
        return self._get(_LOOKED) > 0

    def taken(self) -> None:
        """Stamp: the pusher has taken a bell; a drain must follow."""
        self._set(_TAKEN, time.monotonic())

    def begun(self) -> None:
        """Stamp: a drain has begun."""
        self._set(_BEGUN, time.monotonic())
        self.busy_for(0)

    def busy_for(self, limit_s: float) -> None:
        """Stamp: the next step takes at most `limit_s` by itself."""
        until = time.monotonic() + limit_s + PATIENCE_S
        self._set(_BUSY_UNTIL, max(until, self._get(_BUSY_UNTIL)))

    @contextmanager
    def draining(self) -> Iterator[None]:
        """Be known as a running drain during a block."""
        self.begun()
        self._slot = next(filter(self._lock, _SLOTS), None)
        self.call_ended()  # the slot's last holder may have died in the middle of one
        if self._slot is not None:
            self._set(_PID + self._slot, os.getpid())
        try:
            yield
        finally:
            self.call_ended()
            if self._slot is not None:
                self._unlock(self._slot)
            self._slot = None

    def call_begins(self, limit_s: float) -> None:
        """Stamp: a receiver is called that must return within `limit_s`."""
        self.busy_for(limit_s)
        if self._slot is not None:
            self._set(_OVERDUE_AT + self._slot, time.monotonic() + limit_s + PATIENCE_S)

    def call_ended(self) -> None:
        """Stamp: the receiver has returned."""
        if self._slot is not None:
            self._set(_OVERDUE_AT + self._slot, 0)

    def is_draining(self) -> bool:
        """Tell whether any drain of the cluster runs."""
        return any(self._get(_PID + slot) and self._is_locked(slot) for slot in _SLOTS)

    def overdue_processes(self) -> list[int]:
        """Return the processes in which a receiver has outlived its limit, and all patience."""
        now = time.monotonic()
        return [
            int(self._get(_PID + slot))
            for slot in _SLOTS
            if 0 < self._get(_OVERDUE_AT + slot) < now and self._is_locked(slot)
        ]

    def write_locked(self) -> None:
        """Stamp: this process holds SQLite's write lock. Only its holder calls this."""
        self._set(_LOCKED_BY, os.getpid())
        self._set(_LOCKED_AT, time.monotonic())

    def write_unlocked(self) -> None:
        """Stamp: it lets the lock go. Called while it still holds it."""
        self._set(_LOCKED_AT, 0)

    def what_is_stuck(self) -> str:
        """Return in words what makes no progress, or "" where all is well."""
        now = time.monotonic()
        if 0 < self._get(_LOCKED_AT) < now - WRITE_LOCK_S and self._is_holder_there():
            return "SQLite's write lock is not let go"
        if now < self._get(_BUSY_UNTIL):
            return ""
        if self._get(_TAKEN) > self._get(_BEGUN) and now - self._get(_TAKEN) > PATIENCE_S:
            return "a bell was taken and no drain has begun"
        if now - max(self._get(_LOOKED), self._get(_BUSY_UNTIL)) > PATIENCE_S:
            return "nobody looks for bells"
        return ""

    # A slot belongs to whoever has locked its byte of the file; see fcntl(2), advisory locks.
    def _lock(self, slot: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self, slot: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)

    def _is_locked(self, slot: int) -> bool:
        if not self._lock(slot):
            return True
        self._unlock(slot)
        return False

    def _is_holder_there(self) -> bool:
        try:
            os.kill(int(self._get(_LOCKED_BY)), 0)
        except ProcessLookupError:  # it was killed, and the lock went with it
            return False
        return True

    def _get(self, field: int) -> float:
        value: float = struct.unpack_from("d", self._memory, field * _SIZE_BYTES)[0]
        return value

    def _set(self, field: int, value: float) -> None:
        struct.pack_into("d", self._memory, field * _SIZE_BYTES, value)


class _Untold:
    """Stands in where nobody watches: in tests, or a cluster that was started by hand."""

    def looked(self) -> None: ...
    def taken(self) -> None: ...
    def draining(self) -> AbstractContextManager[None]:
        return nullcontext()

    def busy_for(self, limit_s: float) -> None: ...
    def call_begins(self, limit_s: float) -> None: ...
    def call_ended(self) -> None: ...
    def write_locked(self) -> None: ...
    def write_unlocked(self) -> None: ...


def path_of(supervisor_pid: int, queue: str) -> Path:
    """Return the file through which a cluster tells its supervisor."""
    return Path(settings.VAR_DIR) / f"worker.{supervisor_pid}.{queue}.progress"


@cache
def told() -> Progress | _Untold:
    """Return where this process stamps its progress."""
    path = os.environ.get(VARIABLE)
    return Progress(Path(path)) if path else _Untold()


# Each process opens the file itself, and so has no slot of its parent's.
os.register_at_fork(after_in_child=told.cache_clear)
