"""Fixtures that tests of every app share."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.management.commands import flush
from django.db import connection, transaction
from django.utils import translation
from rest_framework.test import APIClient
from servestatic.middleware import ServeStaticMiddleware

from events.delivery import floors
from events.delivery.claimable import due_queues
from events.delivery.drain import drain as drain_queue
from events.envelope import Event
from tests import template_database
from tests.probe.models import Fault
from tests.probe.signals import Happened, happened

Drain = Callable[[], int]
Publish = Callable[..., Event[Happened]]
Misbehave = Callable[[int, str], Fault]


# What migrations fill in, and no test changes: to fill it in again after each takes a while.
KEPT_TABLES = {"django_content_type", "auth_permission"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked `database` with another kind than this pass's; begin with chaos.

    A run of chaos takes minutes: begun last, it would have one process work and the others wait.
    """
    kind = config.getoption("database")
    others = [item for item in items if _kind_of(item) not in {None, kind}]
    mine = [item for item in items if item not in others]
    items[:] = sorted(mine, key=lambda item: "test_chaos" not in item.nodeid)
    config.hook.pytest_deselected(items=others)


def _kind_of(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("database")
    return marker.args[0] if marker else None


@pytest.fixture(autouse=True)
def _no_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find at once what a test makes due in the past: a process is not told of another test."""
    monkeypatch.setattr(floors, "LOOK_FROM_THE_BEGINNING_EVERY_S", 0.0)
    monkeypatch.setattr(floors, "_floors", {})


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Copy the run's template, under the name that this process has been given."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        name = connection.creation._get_test_db_name()  # type: ignore[attr-defined]
        template_database.copy_to(name)


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Keep what was copied: there is nothing left to migrate."""
    return "PYTEST_XDIST_WORKER" in os.environ


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    """Empty only the tables that have rows: TRUNCATE of all takes PostgreSQL most of a second."""
    sql_flush = connection.ops.sql_flush
    if connection.vendor == "postgresql":
        sql_flush = _delete_what_is_there

    def flush_others(style: Any, tables: Iterable[str], **options: Any) -> list[str]:
        return sql_flush(style, [name for name in tables if name not in KEPT_TABLES], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.ops, "sql_flush", flush_others)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *args, **kwargs: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_found_once() -> Iterator[None]:
    """Keep what the middleware finds: each client makes it anew, and it looks for all files."""
    find, found = ServeStaticMiddleware.add_files_from_finders, dict[str, Any]()

    def find_once(middleware: ServeStaticMiddleware) -> None:
        if not found:
            find(middleware)
            found.update(middleware.files)
        middleware.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServeStaticMiddleware, "add_files_from_finders", find_once)
        yield


@pytest.fixture(autouse=True)
def _first_language() -> None:
    """Begin in the first language: a page's language outlives its request in a test's process."""
    translation.activate(settings.LANGUAGE_CODE)


def _delete_what_is_there(style: object, tables: Iterable[str], **options: bool) -> list[str]:
    quoted = [connection.ops.quote_name(table) for table in tables]
    asked = " UNION ALL ".join(
        f"(SELECT '{table}' FROM {table} LIMIT 1)"  # noqa: S608
        for table in quoted
    )
    with connection.cursor() as cursor:
        cursor.execute(asked)
        filled = [row[0] for row in cursor.fetchall()]
    deletions = [f"DELETE FROM {table}" for table in filled]  # noqa: S608
    # Foreign keys and the ledger's triggers stand aside, as they do for TRUNCATE.
    return [
        "SET session_replication_role = replica",
        *deletions,
        "SET session_replication_role = DEFAULT",
    ]


@pytest.fixture
def drain() -> Drain:
    """Return a function that runs due deliveries of all queues here until nothing is due.

    It needs real commits (`django_db(transaction=True)`) and returns how many are done.
    """

    def run() -> int:
        total = 0
        while done := sum(drain_queue(queue) for queue in due_queues()):
            total += done
        return total

    return run


@pytest.fixture
def api_client() -> APIClient:
    """Return a client of the API without credentials."""
    return APIClient()


@pytest.fixture
def publish() -> Publish:
    """Return a function that publishes one of the probe's events in a transaction of its own."""

    def run(number: int = 0, key: str = "someone") -> Event[Happened]:
        with transaction.atomic():
            return happened.publish(Happened(key=key, number=number))

    return run


@pytest.fixture
def misbehave() -> Misbehave:
    """Return a function that makes receivers fail on a number until the returned row is deleted."""

    def run(number: int, kind: str) -> Fault:
        return Fault.objects.create(number=number, kind=kind)

    return run
