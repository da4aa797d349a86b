"""Who holds a lease: a process, named so that its death can be seen from its machine."""

import os
import socket
from functools import cache
from pathlib import Path

PROC = Path("/proc/self/stat")
_START_TIME_FIELD = 19  # of /proc/<pid>/stat after the command; see proc(5), field 22


@cache
def boot_id() -> str:
    """Return an id of this machine since its start; container pid namespaces are told apart.

    Where there is no /proc, it is the host's name, and no process is ever seen to be dead: leases
    then end by time alone.
    """
    if not PROC.exists():
        return socket.gethostname()[:40]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:16]
    return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"


def current_owner() -> str:
    """Return the lease owner for this process: boot id, pid and start time."""
    return owner_of(os.getpid())


@cache
def owner_of(pid: int) -> str:
    """Return the name of a process of this machine: boot id, pid and start time."""
    return f"{boot_id()}:{pid}:{_start_time(pid)}"


def is_local(owner: str) -> bool:
    """Tell whether the owner is or was a process of this machine."""
    return owner.startswith(f"{boot_id()}:")


def is_dead(owner: str) -> bool:
    """Tell whether a local owner's process is gone (its pid may belong to another by now)."""
    _, pid, started = owner.split(":")
    return PROC.exists() and _start_time(int(pid)) != started


def _start_time(pid: int) -> str:
    """Return a process's start in clock ticks since boot, or "" where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[_START_TIME_FIELD]
