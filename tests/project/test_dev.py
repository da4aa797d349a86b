"""`manage.py dev`: everything in one process tree that comes up, and goes down, as one."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings

from tests.processes import ROOT, descendants_of, free_port, wait_until

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        not settings.USES_SQLITE, reason="runs on a SQLite of its own in either lane"
    ),
]

STARTED_WITHIN_S = 120  # it makes all tables and the demo data, on a machine with much else to do

Dev = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def port() -> int:
    """Return a port of the test's own."""
    return free_port()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return where the command prints to."""
    return tmp_path / "log"


@pytest.fixture
def dev(tmp_path: Path, port: int, log: Path) -> Iterator[Dev]:
    """Return a function that starts the command on a SQLite database of the test's own."""
    started: list[subprocess.Popen[bytes]] = []
    unset = {"DATABASE_URL", "DEMO_ADMIN_PASSWORD", "DJANGO_SETTINGS_MODULE"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}

    def run() -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "dev"],
                cwd=ROOT,
                env={**inherited, "USHER_VAR": str(tmp_path), "PORT": str(port)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def is_announced(log: Path) -> bool:
    """Tell whether the addresses were printed."""
    return "Ctrl-C stops everything." in log.read_text()


def stop(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal and wait until the process and all below it are gone."""
    below = descendants_of(process.pid)
    assert len(below) > 3  # web, worker, and the worker's clusters
    process.send_signal(number)
    process.wait(20)
    wait_until(lambda: not any(_lives(child) for child in below), 5)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def has_clusters(process: "subprocess.Popen[bytes]") -> bool:
    """Tell whether the worker has come far enough to have children of its own."""
    return len(descendants_of(process.pid)) > 3


def test_it_serves_and_one_signal_stops_everything(dev: Dev, port: int, log: Path) -> None:
    first = dev()
    wait_until(lambda: is_announced(log), STARTED_WITHIN_S)
    wait_until(lambda: has_clusters(first))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        assert answer.status == 200
    assert re.search(r"admin@usher\.test, password \S{12,}", log.read_text())

    stop(first, signal.SIGTERM)

    assert first.returncode == 0
    second = dev()
    wait_until(lambda: is_announced(log), STARTED_WITHIN_S)
    wait_until(lambda: has_clusters(second))
    assert "changepassword admin@usher.test" in log.read_text()
    stop(second, signal.SIGINT)
    assert second.returncode == 0


def test_nothing_outlives_a_kill_and_a_dead_child_comes_back(
    dev: Dev, port: int, log: Path
) -> None:
    process = dev()
    wait_until(lambda: is_announced(log), STARTED_WITHIN_S)
    wait_until(lambda: has_clusters(process))
    web = next(p for p in descendants_of(process.pid) if "uvicorn" in p.cmdline())

    web.kill()

    wait_until(lambda: "web ended with code -9; starting it again." in log.read_text())
    wait_until(lambda: _connects(port))
    stop(process, signal.SIGKILL)


def test_what_stays_takes_no_memory_for_django() -> None:
    asked = "import project.development, sys; print('django' in sys.modules)"

    told = subprocess.check_output([sys.executable, "-c", asked], cwd=ROOT, text=True)

    assert told == "False\n"


def test_a_taken_port_is_said_in_one_line(dev: Dev, port: int, log: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()

        code = dev().wait(30)

    assert code == 1
    assert len(log.read_text().splitlines()) == 1
    assert f"Port {port} is taken." in log.read_text()


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
