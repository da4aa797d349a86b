"""What a cluster is doing, told to its supervisor through shared memory.

django-q2's own heartbeat comes from its guard, and stays fresh while the cluster is frozen: a
worker killed while it waits for a task keeps the queue's lock for ever (django-q2#23). So the
pusher and the drains, which do the work, stamp a small file that supervisor and cluster map.

Times are of the monotonic clock, which all processes of a machine share.
"""

import mmap
import os
import struct
import time
from functools import cache
from pathlib import Path

from django.conf import settings

VARIABLE = "USHER_PROGRESS"  # the environment variable that names the file
PATIENCE_S = 10.0  # between two stamps of healthy work

_LOOKED, _TAKEN, _BEGUN, _BUSY_UNTIL = range(4)
_SIZE_BYTES = 8
_FIELDS = 4


class Progress:
    """Four times in shared memory. Each is written whole, so no lock is needed."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FIELDS * _SIZE_BYTES)

    @staticmethod
    def create(path: Path) -> "Progress":
        """Make a cluster's file. Until it has started, the cluster counts as busy."""
        path.write_bytes(bytes(_FIELDS * _SIZE_BYTES))
        progress = Progress(path)
        progress._set(_BUSY_UNTIL, time.monotonic() + 2 * PATIENCE_S)
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

    def what_is_stuck(self) -> str:
        """Return in words what makes no progress, or "" where all is well."""
        now = time.monotonic()
        if now < self._get(_BUSY_UNTIL):
            return ""
        if self._get(_TAKEN) > self._get(_BEGUN) and now - self._get(_TAKEN) > PATIENCE_S:
            return "a bell was taken and no drain has begun"
        if now - max(self._get(_LOOKED), self._get(_BUSY_UNTIL)) > PATIENCE_S:
            return "nobody looks for bells"
        return ""

    def _get(self, field: int) -> float:
        value: float = struct.unpack_from("d", self._memory, field * _SIZE_BYTES)[0]
        return value

    def _set(self, field: int, value: float) -> None:
        struct.pack_into("d", self._memory, field * _SIZE_BYTES, value)


class _Untold:
    """Stands in where nobody watches: in tests, or a cluster that was started by hand."""

    def looked(self) -> None: ...
    def taken(self) -> None: ...
    def begun(self) -> None: ...
    def busy_for(self, limit_s: float) -> None: ...


def path_of(supervisor_pid: int, queue: str) -> Path:
    """Return the file through which a cluster tells its supervisor."""
    return Path(settings.VAR_DIR) / f"worker.{supervisor_pid}.{queue}.progress"


@cache
def told() -> Progress | _Untold:
    """Return where this process stamps its progress."""
    path = os.environ.get(VARIABLE)
    return Progress(Path(path)) if path else _Untold()
