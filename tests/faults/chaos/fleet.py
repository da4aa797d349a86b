"""The processes of a run: two web servers and two supervisors, replaced at once when they end."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.processes import ROOT, answers, free_port, wait_until

HOST = "127.0.0.1"
WEB_SERVERS = 2
SUPERVISORS = 2
START_S = 120.0
STOP_S = 30.0
LOOK_EVERY_S = 0.05
NOTE_EVERY_S = 1.0
TITLES = {"worker": {"idle", "processing"}, "pusher": {"pusher"}, "monitor": {"monitor"}}


class Member:
    """One process of ours: what to run, and what runs now."""

    def __init__(self, role: str, log: Path, *arguments: str) -> None:
        self.role = role
        self._log = log
        self._arguments = arguments
        self.start()

    def start(self) -> None:
        """Start the process. Its output is added to the log."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self._arguments], cwd=ROOT, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """Ask the process to end; kill it where it does not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Fleet:
    """All processes of a run, and a thread that replaces those that end."""

    def __init__(self, directory: Path, queues: Sequence[str]) -> None:
        """Start everything. See `running_fleet`."""
        logs = directory / "logs"
        logs.mkdir()
        self.ports = [free_port() for _ in range(WEB_SERVERS)]
        self.members = [_web(logs / f"web-{port}.log", port) for port in self.ports]
        self.members += [
            _supervisor(logs / f"worker-{number}.log", queues) for number in range(SUPERVISORS)
        ]
        self.killed: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()  # by themselves: nobody killed these
        self._seen: set[psutil.Process] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()

    def kill(self, role: str, pick: float) -> bool:
        """Kill one process of a role by SIGKILL. Return whether there was one."""
        with self._lock:  # the keeper must see a death that is ours as ours
            candidates = self.processes(role)
            if not candidates:
                return False
            victim = candidates[int(pick * len(candidates))]
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                self.killed[role] += 1
                self._replace_ours(victim.pid)
                return True
        return False

    def processes(self, role: str) -> list[psutil.Process]:
        """Return the living processes of a role, in order of age."""
        if role in {"web", "supervisor"}:
            ours = [member.process.pid for member in self.members if member.role == role]
            return [process for pid in ours if (process := _process(pid)) is not None]
        children = _children(self.processes("supervisor"))
        if role == "sweep":
            return [process for process in children if "sweep" in _title(process)]
        clusters = [process for process in children if "qcluster" in _title(process)]
        if role == "cluster":
            return clusters
        sentinels = _children(clusters)
        if role == "sentinel":
            return sentinels
        below = _children(sentinels)
        return [process for process in below if _title(process) & TITLES[role]]

    def stop(self) -> None:
        """Stop everything in good order."""
        self._stopping.set()
        self._keeper.join()
        self._note_all()
        for member in self.members:  # ask all of them before waiting for any
            member.process.terminate()
        for member in self.members:
            member.stop()

    def exit_codes(self, role: str) -> list[int | None]:
        """Return how the processes of a role ended."""
        return [member.process.returncode for member in self.members if member.role == role]

    def orphans(self) -> list[str]:
        """Return what still runs of all that was ever seen below us, after `stop`."""
        assert self._seen, "nothing was ever seen: this would find nothing"
        return [" ".join(p.cmdline()) for p in self._seen if p.is_running() and _process(p.pid)]

    def _note_all(self) -> None:
        for member in self.members:
            with suppress(psutil.NoSuchProcess):
                self._seen.update(psutil.Process(member.process.pid).children(recursive=True))

    def _keep(self) -> None:
        noted_at = 0.0
        while not self._stopping.wait(LOOK_EVERY_S):
            if time.monotonic() - noted_at > NOTE_EVERY_S:
                self._note_all()
                noted_at = time.monotonic()
            with self._lock:
                for member in self.members:
                    if member.process.poll() is not None:
                        self.ended[member.role] += 1
                        member.start()

    def _replace_ours(self, pid: int) -> None:
        for member in self.members:
            if member.process.pid == pid:
                member.process.wait()
                member.start()

    def wait_until_ready(self, queues: int) -> None:
        """Return once every web server answers and every queue is served by all supervisors."""
        for port in self.ports:
            wait_until(lambda port=port: answers(f"http://{HOST}:{port}/livez"), START_S)  # type: ignore[misc]
        wait_until(lambda: len(self.processes("pusher")) == queues * SUPERVISORS, START_S)


@contextmanager
def running_fleet(directory: Path, queues: Sequence[str]) -> Iterator[Fleet]:
    """Run a block with everything up; nothing of it is left afterwards."""
    fleet = Fleet(directory, queues)
    try:
        fleet.wait_until_ready(len(queues))
        yield fleet
    finally:
        fleet.stop()


def _web(log: Path, port: int) -> Member:
    quiet = ["--log-level", "warning", "--no-access-log", "--no-proxy-headers"]
    return Member(
        "web", log, "-m", "uvicorn", "project.asgi:application", "--port", str(port), *quiet
    )


def _supervisor(log: Path, queues: Sequence[str]) -> Member:
    return Member("supervisor", log, "manage.py", "worker", *queues, "--grace", "10")


def _process(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def _children(parents: Sequence[psutil.Process]) -> list[psutil.Process]:
    found = []
    for parent in parents:
        with suppress(psutil.NoSuchProcess):
            found += [c for child in parent.children() if (c := _process(child.pid)) is not None]
    return sorted(found, key=lambda process: process.pid)


def _title(process: psutil.Process) -> set[str]:
    """Return the words of a process's title, which it or django-q2 has given it."""
    try:
        return set(" ".join(process.cmdline()).split())
    except psutil.NoSuchProcess:
        return set()
