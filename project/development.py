"""Web and workers beside each other on this machine: `python -m project.development PORT LOGIN_FD`.

`manage.py dev` becomes this once the database is ready. Nothing here needs Django, which would take
more memory than all that is left to do: watch two processes, until Ctrl-C or SIGTERM.
"""

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from project.children import Child, say, stop

HOST = "127.0.0.1"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_EVERY_S = 0.1
WORKER_GRACE_S = 10  # below the time that children get to stop


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. No Exception, so that nothing on the way takes it for a failure."""


def main(port: int, login_fd: int) -> None:
    """Run both; return when told to stop. How staff log in is read from a file descriptor."""
    try:
        stop_on_signals()
        with os.fdopen(login_fd) as given:
            login = given.read()
        _run(port, login)
    except Stopped:
        say("Stopped.")


def _run(port: int, login: str) -> NoReturn:
    children: list[Child] = []
    try:
        children += [_web(port), _worker(port)]
        _watch(children, lambda: _announce(port, login))
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        stop(children)


def stop_on_signals() -> None:
    """Raise Stopped at Ctrl-C, SIGTERM or a hang-up from now on, or for one that came already."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped


def _web(port: int) -> Child:
    uvicorn = [sys.executable, "-m", "uvicorn", "project.asgi:application"]
    # Who the client is, TRUSTED_PROXIES decides; uvicorn would believe anyone on this machine.
    options = ["--host", HOST, "--port", str(port), "--log-level", "warning", "--no-proxy-headers"]
    stopping = ["--timeout-graceful-shutdown", "5"]
    # Pages say nothing over their sockets, and hear little: nothing to buffer or compress.
    sockets = ["--ws-max-size", "1024", "--ws-per-message-deflate", "false"]
    return Child("web", [*uvicorn, *options, *stopping, *sockets], _environment(port))


def _worker(port: int) -> Child:
    worker = [sys.executable, "manage.py", "worker", "--skip-checks"]
    return Child("worker", [*worker, "--grace", str(WORKER_GRACE_S)], _environment(port))


def _environment(port: int) -> dict[str, str]:
    # Invite links must lead to the port that is really served.
    return {"PUBLIC_URL": os.environ.get("PUBLIC_URL") or f"http://{HOST}:{port}"}


def _watch(children: list[Child], on_ready: Callable[[], bool]) -> NoReturn:
    """Restart what ends, for ever. `on_ready` is called until it returns True."""
    announced = False
    while True:
        for child in children:
            child.restart_if_dead()
        announced = announced or on_ready()
        time.sleep(LOOK_EVERY_S)


def _announce(port: int, login: str) -> bool:
    """Print the addresses once the web server answers. Return whether it does."""
    address = f"http://{HOST}:{port}"
    try:
        urllib.request.urlopen(f"{address}/livez", timeout=1).close()  # noqa: S310
    except (urllib.error.URLError, OSError):
        return False
    say(f"\nUsher is at      {address}/")
    say(f"Admin            {address}/admin/")
    say(f"API              {address}/api/docs/")
    say(f"Staff login      {login}")
    say("Ctrl-C stops everything.\n")
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
