"""`/livez` says that the process serves; `/readyz` that it can serve people."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from project import health


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin as a process does: nothing is known of the migrations."""
    monkeypatch.setattr(health, "_migrated", False)


@pytest.fixture
def no_database() -> Iterator[None]:
    """Let every query fail, as when the server is gone."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(refuse):
        yield


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.django_db
def test_a_healthy_process(client: Client, method: str, path: str) -> None:
    answer = getattr(client, method)(path)

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert "Set-Cookie" not in answer.headers


@pytest.mark.django_db
def test_liveness_asks_no_database(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        assert client.get("/livez").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readiness_asks_one_small_question_once_migrations_are_known(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.get("/readyz")

    with django_assert_num_queries(1):
        client.get("/readyz")


@pytest.mark.django_db
def test_a_database_that_is_away(client: Client, no_database: None) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert answer.json()["checks"] == {"database": "unavailable", "migrations": "unknown"}
    assert client.get("/livez").status_code == 200


@pytest.mark.django_db
def test_a_database_that_goes_away_later(client: Client) -> None:
    assert client.get("/readyz").status_code == 200

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(refuse):
        assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").status_code == 200


@pytest.mark.django_db
def test_migrations_that_are_missing(client: Client) -> None:
    MigrationRecorder(connection).record_unapplied("project", "0001_cache_table")

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "ok", "migrations": "pending"}
    MigrationRecorder(connection).record_applied("project", "0001_cache_table")
    assert client.get("/readyz").status_code == 200


def test_other_methods_are_refused(client: Client) -> None:
    assert client.post("/livez").status_code == 405
    assert client.post("/readyz").status_code == 405
