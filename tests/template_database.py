"""One database that is migrated once per run: each process of the run begins with a copy of it."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.processes import ROOT
from tests.servers.client import DIRECTORY

NAME = "template"


def copy_to(target: str) -> None:
    """Make the test database: a PostgreSQL database of this name, or a SQLite file."""
    directory = Path(os.environ[DIRECTORY])
    with _one_at_a_time(directory / f"{NAME}.lock"):
        if "DATABASE_URL" in os.environ:
            _copy_on_postgres(directory, target)
        else:
            _copy_file(directory / f"{NAME}.sqlite3", target)


def _copy_file(template: Path, target: str) -> None:
    if not template.exists():
        unfinished = template.with_suffix(".unfinished")
        _migrate(f"sqlite:///{unfinished}")
        unfinished.rename(template)
    shutil.copy(template, target)


def _copy_on_postgres(directory: Path, target: str) -> None:
    url = urlsplit(os.environ["DATABASE_URL"])
    migrated = directory / f"{NAME}.migrated"
    with psycopg.connect(url._replace(path="/postgres").geturl(), autocommit=True) as server:
        if not migrated.exists():
            _create(server, NAME, "template1")
            _migrate(url._replace(path=f"/{NAME}").geturl())
            migrated.touch()
        _create(server, target, NAME)


def _create(server: psycopg.Connection, name: str, template: str) -> None:
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    server.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )


def _migrate(url: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--run-syncdb", "--skip-checks", "--verbosity=0"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        check=True,
    )


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
