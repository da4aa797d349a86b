"""Real processes for tests: the worker, the web server, scripts that die where they are told."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent
WAIT_S = 30.0
FAMILY = 6  # below a supervisor: sweep, cluster, sentinel; worker, monitor, pusher


def wait_until(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> None:
    """Return once the condition holds. Raises TimeoutError, naming it, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not come true within {timeout_s} s")
        time.sleep(0.05)  # between looks, not instead of one


def environment(**overrides: str) -> dict[str, str]:
    """Return the environment of a process that uses this test's database."""
    inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    return {
        **inherited,
        "DATABASE_URL": database_url(),
        "USHER_VAR": str(settings.VAR_DIR),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
        **overrides,
    }


def database_url() -> str:
    """Return the URL of the test database, as another process would name it."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    user, password = database["USER"], database["PASSWORD"]
    return f"postgres://{user}:{password}@{database['HOST']}:{database['PORT']}/{database['NAME']}"


@contextmanager
def running(*command: str, **overrides: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the test and end it, with all its descendants, afterwards."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment(**overrides))
    try:
        yield process
    finally:
        descendants = _descendants(process.pid)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        for descendant in descendants:
            if descendant.is_running():
                descendant.kill()
        process.wait()


@contextmanager
def worker(*queues: str, **overrides: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `manage.py worker` for some queues, or for all."""
    command = [sys.executable, "manage.py", "worker", *queues, "--grace", "5", "--skip-checks"]
    with running(*command, **overrides) as process:
        yield process


@contextmanager
def web_server(**overrides: str) -> Iterator[str]:
    """Run the web server, at PORT or a free one; return its address once it answers."""
    port = int(overrides.get("PORT", free_port()))
    address = f"http://127.0.0.1:{port}"
    arguments = [
        "project.asgi:application",
        "--port",
        str(port),
        "--log-level",
        "warning",
        "--no-proxy-headers",
    ]
    with running(sys.executable, "-m", "uvicorn", *arguments, **overrides):
        wait_until(lambda: answers(f"{address}/livez"))
        yield address


def run_script(source: str, **overrides: str) -> int:
    """Run Python source after django.setup(); return its exit code (-9 where it was killed)."""
    prologue = "import django; django.setup()\n"
    command = [sys.executable, "-c", prologue + source]
    return subprocess.run(command, cwd=ROOT, env=environment(**overrides), check=False).returncode


def descendants_of(pid: int) -> list[psutil.Process]:
    """Return every living process below `pid`."""
    return _descendants(pid)


def cluster_of(supervisor: int) -> psutil.Process:
    """Return the first process of a supervisor's only cluster. django-q2 gives it its title."""
    (cluster,) = [c for c in psutil.Process(supervisor).children() if is_cluster(c)]
    return cluster


def is_cluster(process: psutil.Process) -> bool:
    """Tell whether a child of a supervisor's is a cluster, not its sweep."""
    return process.name().startswith("qcluster")


def free_port() -> int:
    """Return a port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def answers(url: str) -> bool:
    """Tell whether a URL is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
