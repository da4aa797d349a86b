"""Run everything on this machine, to try Usher or to work on it: `manage.py dev`."""

import errno
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from events.management.usage import USAGE_ERROR
from project import demo
from project.children import Child, say, stop

HOST = "127.0.0.1"
DEFAULT_PORT = 8000
LOOK_EVERY_S = 0.1
WORKER_GRACE_S = 10  # below the time that children get to stop


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. No Exception, so that nothing on the way takes it for a failure."""


class Command(BaseCommand):
    """Migrate, seed a new database, and run web and workers until Ctrl-C or SIGTERM."""

    help = "Runs Usher on this machine: migrations, demo data, web server and workers."
    # The children check nothing either; `make check` does.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Run; return when told to stop."""
        if settings.PRODUCTION:
            raise CommandError("`dev` is for trying Usher out: see README.md for production.")
        port = _port()
        _require_free(port)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _stop)
        try:
            _run(port)
        except Stopped:
            say("Stopped.")


def _run(port: int) -> None:
    login = _prepare_database()
    # The children open connections of their own.
    connections.close_all()
    children: list[Child] = []
    try:
        children += [_web(port), _worker(port)]
        _watch(children, lambda: _announce(port, login))
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stop(children)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped


def _port() -> int:
    text = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise CommandError(f"PORT is {text!r}. It must be from 1 to 65535.", returncode=USAGE_ERROR)
    return int(text)


def _require_free(port: int) -> None:
    """Raise CommandError where something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise CommandError(f"Port {port} can't be opened: {error.strerror}.") from None
            raise CommandError(
                f"Port {port} is taken. Stop what listens there, or choose another: "
                f"make run PORT={port + 1 if port < 65535 else DEFAULT_PORT}"
            ) from None


def _prepare_database() -> str:
    """Bring the tables up to date and seed a new database. Return how staff log in."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("Preparing the database.")
        call_command("migrate", verbosity=0, interactive=False)
    return prepare_login(os.environ.get("DEMO_ADMIN_PASSWORD", ""))


def prepare_login(given: str) -> str:
    """Seed a new database; give the staff login the password, if any. Return how staff log in."""
    if demo.is_first_start():
        say("Making the demo data.")
        password = demo.seed(staff_password=given).staff_password
        return f"{demo.STAFF_EMAIL}, password {password or 'as in DEMO_ADMIN_PASSWORD'}"
    if given:
        demo.set_staff_password(given)
    manage = f"{os.path.relpath(sys.executable)} manage.py"
    if not demo.has_staff_login():
        return f"none of the demo's (make one: {manage} createsuperuser)"
    if given:
        return f"{demo.STAFF_EMAIL}, password as in DEMO_ADMIN_PASSWORD"
    return f"{demo.STAFF_EMAIL} (password forgotten: {manage} changepassword {demo.STAFF_EMAIL})"


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
