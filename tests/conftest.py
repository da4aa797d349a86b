"""Fixtures that tests of every app share."""

from collections.abc import Callable, Iterable, Iterator

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from events.delivery.drain import drain as drain_queue
from events.envelope import Event
from events.receivers import all_queues
from tests.probe.models import Fault
from tests.probe.signals import Happened, happened

Drain = Callable[[], int]
Publish = Callable[..., Event[Happened]]
Misbehave = Callable[[int, str], Fault]


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    """Empty only the tables that have rows: TRUNCATE of all takes PostgreSQL most of a second."""
    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor == "postgresql":
            patch.setattr(connection.ops, "sql_flush", _delete_what_is_there)
        yield


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
        while done := sum(drain_queue(queue) for queue in all_queues()):
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
