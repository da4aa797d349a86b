"""Processes that the supervisor forks: they import nothing anew, share its memory, die with it.

A fork copies one thread and leaves the locks of the others locked, and SQLite's locks do not
survive it. So who forks here has neither threads nor database connections.
"""

import ctypes
import logging
import mmap
import multiprocessing
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from setproctitle import setproctitle

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # see prctl(2)
RESTART_DELAY_S = 1.0
MAX_RESTART_DELAY_S = 30.0
_FORK = multiprocessing.get_context("fork")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Child:
    """A process that is started again whenever it ends, later and later while it fails."""

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        """Start it: `run` is called in a session of its own."""
        self.name = name
        self.run = run
        self.failures = 0
        self.start()

    def start(self) -> None:
        """Start the process. Raises OSError where none is to be had."""
        self.started_at = time.monotonic()
        self.process = _FORK.Process(
            name=self.name, target=_begin, args=(self.name, self.run, os.getpid())
        )
        with _stop_signals_held_back():
            self.process.start()

    @property
    def is_running(self) -> bool:
        """Tell whether its first process is alive."""
        return self.process.is_alive()

    @property
    def has_come_up(self) -> bool:
        """Tell whether it got so far that what ended it was not its start."""
        return time.monotonic() - self.started_at > MAX_RESTART_DELAY_S

    def restart_if_dead(self) -> None:
        """Start it again once it has ended."""
        if self.is_running:
            return
        lived_s = time.monotonic() - self.started_at
        if self.has_come_up:  # it was killed, and did not fail
            self.failures = 0
        delay_s = min(RESTART_DELAY_S * 2**self.failures, MAX_RESTART_DELAY_S)
        if lived_s < delay_s:
            return
        self.failures += 1
        logger.error(
            "The %s ended with code %s after %.0f s; starting it again.",
            self.name,
            self.process.exitcode,
            lived_s,
        )
        self.kill()
        try:
            self.start()
        except OSError:  # no process, memory or disk space to be had: the others must not die of it
            logger.exception("The %s could not be started.", self.name)

    def terminate(self) -> None:
        """Ask it to finish what it does. Only its first process: the others follow it."""
        if self.is_running:
            self.process.terminate()

    def kill(self) -> None:
        """Kill whatever is left of it: its whole process group."""
        if self.process.pid is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()  # it may not have a group yet
        self.process.join()


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


def _begin(name: str, run: Callable[[], object], parent_pid: int) -> None:
    """Become a child: with a session and a name of its own, no handlers, and its parent's fate."""
    os.setsid()  # first: until then its parent cannot kill the group
    _die_with_parent()
    if os.getppid() != parent_pid:
        os._exit(1)
    # A fork does not inherit the setting: without this, killing the sentinel orphans the others.
    os.register_at_fork(after_in_child=_die_with_parent)
    setproctitle(f"usher {name}")
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    run()


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _stop_signals_held_back() -> Iterator[None]:
    """Let no signal reach a child that still has its parent's handlers: it would be lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
