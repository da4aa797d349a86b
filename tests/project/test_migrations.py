"""Migrations make and drop indexes of tables that have rows without stopping who writes there."""

from collections.abc import Iterator
from importlib import import_module
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddIndex, CreateModel, RemoveIndex, RunPython
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Index, Max
from django.utils import timezone

from events.models import Attempt, Delivery
from online_indexes import AddIndexOnline, RemoveIndexOnline
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.models import Effect
from tests.processes import ROOT

# The last ones that were made while all tables were small.
BEFORE = {"accounts": 5, "coupons": 5, "events": 6, "points": 5, "project": 4, "relay": 3}

ONLINE = [
    ("accounts", "0006_lists_of_staff", "user_staff"),
    ("coupons", "0006_lists_of_staff", "coupons_redemption_of_order"),
    ("events", "0010_dead_by_cause", "delivery_dead_by_cause"),
    ("events", "0011_retrying_by_cause", "delivery_retrying_by_cause"),
    ("points", "0006_decisions_by_time", "points_decision_by_time"),
    ("project", "0005_lists_of_staff", "project_mail_not_sent"),
]
NAME = "probe_effect_online"


def later_migrations() -> Iterator[Migration]:
    """Yield this project's migrations that must obey."""
    for (label, name), migration in MigrationLoader(None).disk_migrations.items():
        ours = (ROOT / label / "migrations").is_dir()
        if ours and int(name[:4]) > BEFORE.get(label, 0):
            yield migration


def stops_writers(migration: Migration) -> list[str]:
    """Return what a migration does to indexes of tables that were there before, not online."""
    new = {each.name_lower for each in migration.operations if isinstance(each, CreateModel)}
    return [
        f"{migration}: {each.describe()}"
        for each in migration.operations
        if isinstance(each, AddIndex | RemoveIndex)
        and not isinstance(each, AddIndexOnline | RemoveIndexOnline)
        and each.model_name_lower not in new
    ]


def test_indexes_of_tables_with_rows_are_made_and_dropped_online() -> None:
    seen = list(later_migrations())

    assert {(each.app_label, each.name) for each in seen} >= {each[:2] for each in ONLINE}
    assert [told for each in seen for told in stops_writers(each)] == []


def test_a_plain_index_is_found() -> None:
    class Plain(Migration):
        operations = (AddIndex("delivery", Index(fields=["id"], name="plain")),)

    assert stops_writers(Plain("0099_plain", "events"))


def test_migrations_with_online_operations_change_no_table_beside_them() -> None:
    online = (AddIndexOnline, RemoveIndexOnline)
    having = [
        each
        for each in later_migrations()
        if any(isinstance(operation, online) for operation in each.operations)
    ]

    assert having
    for migration in having:
        assert not migration.atomic, migration
        assert all(isinstance(each, (*online, RunPython)) for each in migration.operations)


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check_changes=True, dry_run=True, stdout=StringIO())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("label", "migration", "index"), ONLINE)
def test_indexes_are_made_concurrently_on_postgresql_alone(
    label: str, migration: str, index: str
) -> None:
    sql = call_command("sqlmigrate", label, migration, stdout=StringIO(), no_color=True)

    on_postgresql = connection.vendor == "postgresql"
    assert (f'CREATE INDEX CONCURRENTLY "{index}"' in sql) == on_postgresql
    assert (f'CREATE INDEX "{index}"' in sql) != on_postgresql
    assert "BEGIN;" not in sql


class World:
    """An online index of the probe's table, to be made and dropped."""

    def __init__(self) -> None:
        self.before = ProjectState()
        self.before.add_model(ModelState.from_model(Effect))
        self.adding = AddIndexOnline("effect", Index(fields=["key"], name=NAME))
        self.after = self.before.clone()
        self.adding.state_forwards("probe", self.after)

    def add(self) -> None:
        """Migrate forwards."""
        with connection.schema_editor(atomic=False) as editor:
            self.adding.database_forwards("probe", editor, self.before, self.after)

    def take_back(self) -> None:
        """Migrate backwards."""
        with connection.schema_editor(atomic=False) as editor:
            self.adding.database_backwards("probe", editor, self.after, self.before)

    def remove(self) -> None:
        """Drop it, as a later migration would."""
        removing = RemoveIndexOnline("effect", NAME)
        with connection.schema_editor(atomic=False) as editor:
            removing.database_forwards("probe", editor, self.after, self.before)


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    """Return the operations; the index is gone afterwards."""
    yield World()
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {NAME}")


def the_index() -> Any:
    """Return what the database tells about the index, None where it is not there."""
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, "probe_effect").get(NAME)


def test_an_index_comes_and_goes(world: World) -> None:
    world.add()
    assert the_index()["columns"] == ["key"]
    world.take_back()
    assert the_index() is None

    world.add()
    world.remove()
    assert the_index() is None


def test_a_migration_that_broke_off_goes_on_past_what_it_made(world: World) -> None:
    world.add()

    world.add()

    assert the_index()["columns"] == ["key"]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite builds at once")
def test_what_a_failed_build_left_is_dropped_first(world: World) -> None:
    for number in (1, 2):
        Effect.objects.create(receiver="r", event_id="0" * 32, key="same", number=number)
    with connection.cursor() as cursor, pytest.raises(IntegrityError):
        cursor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {NAME} ON probe_effect (key)")
    assert the_index()["unique"]  # and invalid

    world.add()

    assert not the_index()["unique"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", [NAME])
        assert cursor.fetchone() == (True,)


@pytest.mark.django_db(transaction=True)
def test_the_dead_are_told_in_chunks_when_they_died(
    publish: Publish, drain: Drain, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = import_module("events.migrations.0010_dead_by_cause")
    monkeypatch.setattr(migration, "_CHUNK_SIZE", 2)
    misbehave(1, "permanent")
    for key in ("li", "mei", "wu", "an", "bo"):
        publish(1, key=key)
    publish(2, key="qi")
    drain()
    dead = Delivery.objects.filter(state="dead").order_by("pk")
    known, forgotten, *_ = dead
    dead.exclude(pk=known.pk).update(died_at=None)
    Attempt.objects.filter(delivery=forgotten).delete()
    before = timezone.now()

    with connection.schema_editor(atomic=False) as editor:
        migration.fill_in_deaths(apps, editor)

    first, second, *others = dead.annotate(last=Max("failures__ended_at"))
    assert first.died_at == known.died_at
    assert second.died_at
    assert second.died_at >= before  # nobody knows: no attempt is left
    assert len(others) >= 3
    assert all(each.died_at == each.last for each in others)
    assert not Delivery.objects.exclude(state="dead").exclude(died_at=None).exists()
