"""One server process: started, stopped, frozen and thawed on one port of 127.0.0.1."""

import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import psutil

HOST = "127.0.0.1"
# Below the ports systems lend to outgoing connections: a stopped server's port stays free for it,
# and a client that knocks there can not be connected to itself.
PORTS = range(20000, 30000)
START_S = 60.0
STOP_S = 10.0
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork


class ServerFailed(Exception):
    """A server did not start. The text ends with the last lines of its log."""


class ServerProcess(ABC):
    """A server with a directory and a port of its own. Starting it again keeps both."""

    stop_signal: ClassVar[signal.Signals]

    def __init__(self, directory: Path, software: Path) -> None:
        """Take an existing directory, and one where software may be copied for other users."""
        self.directory = directory
        self.software = software
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared = False

    @property
    @abstractmethod
    def url(self) -> str:
        """Return the URL clients connect to."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what the very first start needs."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self, pid: int) -> bool:
        """Tell whether the server that runs as `pid` serves clients."""

    def complete(self) -> None:  # noqa: B027 - most servers need nothing
        """Finish the very first start, with the server running."""

    def start(self) -> None:
        """Start the server and return once it serves. A running one is left alone."""
        if self._process is not None:
            return
        first = not self._prepared
        if first:
            hand_over(self.directory)
            self.prepare()
        self._process = self._spawn()
        self._wait_until_ready(self._process)
        if first:
            self.complete()
            self._prepared = True

    def stop(self) -> None:
        """Stop the server, frozen or not; its port refuses connections afterwards."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze the server with its children: connections open, and nothing answers."""
        parent = self._running()
        parent.suspend()  # first, so that it makes no more children
        _signal_all(parent.children(recursive=True), signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        parent = self._running()
        _signal_all([*parent.children(recursive=True), parent], signal.SIGCONT)

    def discard(self) -> None:
        """Stop the server for good and remove its directory."""
        self.stop()
        remove_tree(self.directory)

    def run(self, *command: str, **environment: str) -> None:
        """Run a command as the server's user. Raises ServerFailed where it fails."""
        with self._log.open("ab") as log:
            done = subprocess.run(
                command, stdout=log, stderr=log, **self._options(environment), check=False
            )
        if done.returncode:
            raise ServerFailed(f"{command[0]} ended with {done.returncode}.\n{self._last_words()}")

    @property
    def _log(self) -> Path:
        return self.directory.with_suffix(".log")

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                preexec_fn=partial(die_with_parent, signal.SIGKILL),
                **self._options({}),
            )

    def _options(self, environment: dict[str, str]) -> dict[str, Any]:
        return {
            "cwd": self.directory,
            "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **environment},
            "stdin": subprocess.DEVNULL,
            **unprivileged(),
        }

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        while not self.is_ready(process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"{process.args!r} does not serve.\n{self._last_words()}")
            time.sleep(0.02)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def _running(self) -> psutil.Process:
        if self._process is None:
            raise ServerFailed("This server is stopped.")
        return psutil.Process(self._process.pid)


def free_port() -> int:
    """Return a port nobody listens on at the moment."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def unprivileged() -> dict[str, Any]:
    """Return the options of Popen that leave root's rights behind; PostgreSQL refuses them."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def hand_over(path: Path) -> None:
    """Make a path the property of the user servers run as."""
    if user := unprivileged():
        os.chown(path, user["user"], user["group"])


def within_reach(package: Path, software: Path) -> Path:
    """Return a package, or a program, where the servers' user can run it, copied if need be."""
    if os.getuid() != 0 or all(p.stat().st_mode & 0o001 for p in package.parents):
        return package
    copy = software / package.name
    if not copy.exists() and package.is_file():
        shutil.copy2(package, copy)
    elif not copy.exists():
        shutil.copytree(package, copy, symlinks=True)
    return copy


def remove_tree(directory: Path) -> None:
    """Remove a directory, also while a dying process still writes there."""
    deadline = time.monotonic() + STOP_S
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel for a signal when the process that started this one ends. Linux only."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal_number)


def _signal_all(processes: Iterable[psutil.Process], signal_number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal_number)
