"""Processes that a command runs beside each other: restarted when they end, stopped together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from events.delivery.forked import restart_delay_s

LAUNCHER = Path(__file__).with_name("launch.py")
ROOT = LAUNCHER.parent.parent
HEALTHY_AFTER_S = 60.0  # a child that lived this long starts over with the short delay
STOP_WITHIN_S = 15.0


def say(text: str) -> None:
    """Print a line now. Where nobody reads any more (a closed pipe) it is dropped."""
    with suppress(BrokenPipeError, ValueError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


class Child:
    """One process in a session of its own: Ctrl-C reaches it through `stop` only.

    It ends with this process, even where that is killed. Start it from the main thread: the kernel
    takes the end of the thread that started it for the end of its parent.
    """

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.command = command
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", **env}
        self.failures = 0
        self.start()

    def start(self) -> None:
        """Start the process and pass its output on, line by line, under its name."""
        self.started_at = time.monotonic()
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        self.process = subprocess.Popen(  # noqa: S603
            [*launcher, *self.command],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        arguments = (self.name, self.process.stdout)
        threading.Thread(target=_pass_on, args=arguments, daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Tell whether the process is alive."""
        return self.process.poll() is None

    def restart_if_dead(self) -> None:
        """Start the process again once it has ended, later and later while it keeps ending."""
        if self.is_running:
            return
        lived_s = time.monotonic() - self.started_at
        if lived_s > HEALTHY_AFTER_S:
            self.failures = 0
        if lived_s < restart_delay_s(self.failures):
            return
        self.failures += 1
        say(f"{self.name} ended with code {self.process.returncode}; starting it again.")
        self.kill()
        self.start()

    def kill(self) -> None:
        """Kill whatever is left of its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def stop(children: Sequence[Child], within_s: float = STOP_WITHIN_S) -> None:
    """Ask all to end, and kill what has not within `within_s`."""
    for child in children:
        if child.is_running:
            child.process.terminate()
    deadline = time.monotonic() + within_s
    while any(child.is_running for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in children:
        if child.is_running:
            say(f"{child.name} did not stop in time and is killed.")
        child.kill()


def _pass_on(name: str, output: IO[bytes]) -> None:
    """Print what a child prints. Reading never stops: a full pipe would block the child."""
    with output:
        for line in output:
            say(f"{name:6} | {line.decode(errors='replace').rstrip()}")
