"""The two ends of a copy, as connections of their own beside the default one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

SOURCE = "copy_source"
TARGET = "copy_target"

_SQLITE = "django.db.backends.sqlite3"


class NoSuchTarget(Exception):
    """The URL names no database that can be copied to; the text says why."""


@contextmanager
def both_ends(url: str) -> Iterator[tuple[BaseDatabaseWrapper, BaseDatabaseWrapper]]:
    """Yield connections to this installation's database and to the one that a URL names.

    Raises NoSuchTarget where that is none, or the same.
    """
    target = _target_settings(url)
    if _identity(target) == _identity(connections[DEFAULT_DB_ALIAS].settings_dict):
        raise NoSuchTarget("This is the database that Usher runs on. Name another.")
    ends = {SOURCE: _source_settings(), TARGET: target}
    complete = ConnectionHandler({DEFAULT_DB_ALIAS: {}, **ends}).settings  # with Django's defaults
    connections.settings.update({alias: complete[alias] for alias in ends})
    try:
        yield connections[SOURCE], connections[TARGET]
    finally:
        for alias in ends:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


@contextmanager
def snapshot(source: BaseDatabaseWrapper) -> Iterator[None]:
    """Read the source as it is at one moment. It cannot be written in the block."""
    with transaction.atomic(using=SOURCE), source.cursor() as cursor:
        if source.vendor == "postgresql":
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield


def name_of(database: BaseDatabaseWrapper) -> str:
    """Return how people may be told which database it is: without the password."""
    given = database.settings_dict
    if database.vendor == "sqlite":
        return f"SQLite {given['NAME']}"
    return f"PostgreSQL {given['HOST'] or 'localhost'}:{given['PORT'] or 5432}/{given['NAME']}"


def _source_settings() -> dict[str, Any]:
    """Return the default database's settings, for reading only and without its locks."""
    given = dict(connections[DEFAULT_DB_ALIAS].settings_dict)
    options = {name: value for name, value in given["OPTIONS"].items() if name != "pool"}
    if connections[DEFAULT_DB_ALIAS].vendor == "sqlite":
        # Django's own backend, and no immediate transaction: nobody who writes is kept waiting.
        options |= {"transaction_mode": "DEFERRED", "init_command": "PRAGMA query_only=ON;"}
        given["ENGINE"] = _SQLITE
    return given | {"OPTIONS": options, "CONN_MAX_AGE": None}


def _target_settings(url: str) -> dict[str, Any]:
    """Return what settings.py would make of the URL for a command, without a pool."""
    if urlsplit(url).scheme not in {"sqlite", "postgres", "postgresql", "psql", "pgsql"}:
        raise NoSuchTarget("--to takes sqlite:///PATH or postgres://USER:PASSWORD@HOST:PORT/NAME.")
    given: dict[str, Any] = environ.Env.db_url_config(url)
    if not given["NAME"] or given["NAME"] == ":memory:":
        raise NoSuchTarget("The URL of --to names no database at its end.")
    options = given.setdefault("OPTIONS", {})
    if given["ENGINE"] == _SQLITE:
        given["ENGINE"] = "project.sqlite3"
        options |= {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA synchronous=FULL;",
        }
    else:
        options.setdefault("connect_timeout", 5)
    return given


def _identity(database: dict[str, Any]) -> tuple[str, ...]:
    if "sqlite" in database["ENGINE"]:
        return ("sqlite", str(Path(settings.BASE_DIR, database["NAME"]).resolve()))
    host, port = database["HOST"] or "localhost", database["PORT"] or 5432
    return ("postgresql", str(host), str(port), str(database["NAME"]))
