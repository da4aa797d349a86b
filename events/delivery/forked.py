"""Processes that the supervisor forks: they import nothing anew, share its memory, die with it.

A fork copies one thread and leaves the locks of the others locked, and SQLite's locks do not
survive it. So who forks here has neither threads nor database connections.

Not multiprocessing: where a fork is refused it leaks its pipes, and at its exit the parent would
wait for children that never end.
"""

import ctypes
import logging
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from setproctitle import setproctitle

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # see prctl(2)
RESTART_DELAY_S = 1.0
MAX_RESTART_DELAY_S = 30.0
KILL_S = 5.0  # a process that waits for a dead disk does not even die
POLL_S = 0.01
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Forked:
    """A process that is started again whenever it ends, later and later while it fails."""

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        """Take what it runs, in a session of its own once it is started."""
        self.name = name
        self.run = run
        self.failures = 0
        self.pid = 0  # none yet, or no more
        self.exit_code: int | None = None
        self.started_at = time.monotonic()
        self.ended_at: float | None = self.started_at  # it is not there yet

    def start(self) -> None:
        """Start the process. Raises OSError where none is to be had."""
        self.started_at = self.ended_at = time.monotonic()
        self.pid = _fork(self.name, self.run)
        self.ended_at = self.exit_code = None

    @property
    def is_running(self) -> bool:
        """Tell whether its first process is alive."""
        if self.ended_at is None and self._has_ended():
            self.ended_at = time.monotonic()
        return self.ended_at is None

    @property
    def has_come_up(self) -> bool:
        """Tell of a dead one whether it got so far that what ended it was not its start."""
        return (self.ended_at or 0) - self.started_at > MAX_RESTART_DELAY_S

    def restart_if_dead(self) -> None:
        """Start it again once it has ended."""
        if self.is_running:
            return
        if self.has_come_up:  # it was killed, and did not fail
            self.failures = 0
        if time.monotonic() - self.started_at < restart_delay_s(self.failures):
            return
        self.failures += 1
        code = self.exit_code
        logger.error("The %s ended with code %s; starting it again.", self.name, code)
        self.kill()
        try:
            self.start()
        except OSError:  # no process, memory or disk space to be had: the others must not die of it
            logger.exception("The %s could not be started.", self.name)

    def terminate(self) -> None:
        """Ask it to finish what it does. Only its first process: the others follow it."""
        if self.is_running:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill whatever is left of it: its whole process group."""
        if not self.pid:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.is_running:
            os.kill(self.pid, signal.SIGKILL)  # it may not have a group yet
        deadline = time.monotonic() + KILL_S
        while self.is_running and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if self.is_running:
            logger.error("The %s (process %d) does not die.", self.name, self.pid)
        else:
            self.pid = 0  # the number may soon be another's

    def _has_ended(self) -> bool:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid:
            self.exit_code = os.waitstatus_to_exitcode(status)
        return bool(pid)


def restart_delay_s(failures: int) -> float:
    """Return how long after a process's start it may be started again, by how often it failed."""
    return min(RESTART_DELAY_S * 2.0**failures, MAX_RESTART_DELAY_S)


class Stamp:
    """A moment of the monotonic clock that a process shares with those it forks."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, struct.calcsize("d"))
        self.renew()

    def renew(self) -> None:
        """Set it to now."""
        struct.pack_into("d", self._memory, 0, time.monotonic())

    @property
    def age_s(self) -> float:
        """Return the seconds since it was last set."""
        at: float = struct.unpack_from("d", self._memory)[0]
        return time.monotonic() - at


def _fork(name: str, run: Callable[[], object]) -> int:
    """Return the pid of a child that runs `run` and ends."""
    parent_pid = os.getpid()
    # A signal that met the child while it has its parent's handlers would be lost.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _be_the_child(name, run, parent_pid, former)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _be_the_child(
    name: str, run: Callable[[], object], parent_pid: int, mask: Iterable[int]
) -> NoReturn:
    code = 1
    try:
        os.setsid()  # first: until then its parent cannot kill the group
        _die_with_parent()
        if os.getppid() == parent_pid:
            # A fork does not inherit the setting: or killing the sentinel would orphan the others.
            os.register_at_fork(after_in_child=_die_with_parent)
            for number in _STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if sys.platform == "linux":
                setproctitle(f"usher {name}")
            run()
            code = 0
    except BaseException:
        logger.exception("The %s failed.", name)
    finally:
        os._exit(code)  # nothing of the parent's is to be run at its exit


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
