"""Run everything on this machine, to try Usher or to work on it: `manage.py dev`."""

import errno
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from events.management.usage import USAGE_ERROR
from project import demo
from project.children import ROOT, say
from project.development import HOST, STOP_SIGNALS, Stopped, stop_on_signals

DEFAULT_PORT = 8000


class Command(BaseCommand):
    """Migrate, seed a new database, and become what runs web and workers."""

    help = "Runs Usher on this machine: migrations, demo data, web server and workers."
    # The children check nothing either; `make check` does.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Run; return when told to stop."""
        if settings.PRODUCTION:
            raise CommandError("`dev` is for trying Usher out: see README.md for production.")
        port = _port()
        _require_free(port)
        stop_on_signals()
        try:
            _become_watcher(port, login=_prepare_database())
        except Stopped:
            say("Stopped.")


def _become_watcher(port: int, *, login: str) -> NoReturn:
    connections.close_all()
    reading, writing = os.pipe()  # arguments are anybody's to read, and it may name a password
    os.write(writing, login.encode())
    os.set_inheritable(reading, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until the new program handles them
    os.chdir(ROOT)
    python = [sys.executable, "-m", "project.development", str(port), str(reading)]
    os.execv(sys.executable, python)  # noqa: S606


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
