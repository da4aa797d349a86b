"""Everything is copied to another database or nothing, and Usher goes on there where it stood."""

import inspect
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from accounts import services
from accounts.models import User
from coupons.models import Coupon
from events.models import Delivery, DeliveryState, Event
from events.operations.checksum import TableSum
from project import checkouts, demo
from project.copying import copy as copying
from project.copying.databases import SOURCE, TARGET
from project.copying.tables import chunks_of, copied_models, sum_of
from project.models import Checkout
from tests.processes import database_url, run_script
from tests.registrations import make_service
from tests.servers.client import Server

pytestmark = pytest.mark.django_db(transaction=True)

Target = Callable[[str], str]
KINDS = ("sqlite", "postgres")

GOES_ON = """
from django.core.management import call_command
from accounts import services
from accounts.models import User
from coupons.models import Coupon
from events.delivery.drain import drain
from events.models import Delivery
from events.receivers import all_queues

services.register(email="later@example.com", password="a long enough one")
while sum(drain(queue) for queue in all_queues()):
    pass
assert not Delivery.objects.filter(state__in=["pending", "running", "waiting"]).exists()
for email in ("open@example.com", "later@example.com"):
    assert Coupon.objects.filter(user__email=email).exists(), email
call_command("check_invariants")
"""


@pytest.fixture(autouse=True)
def _ends_are_open(transactional_db: None) -> None:
    """Let the command open its connections, whose names the settings of tests do not have."""
    guard = inspect.getclosurevars(BaseDatabaseWrapper.ensure_connection).nonlocals["cls"]
    guard.databases |= {SOURCE, TARGET}


@pytest.fixture(scope="session")
def execute(postgres_server: Server) -> Callable[[str], None]:
    """Return a function that runs a statement on the server, outside of any test's database."""

    def run(statement: str) -> None:
        url = urlsplit(postgres_server.url)._replace(path="/postgres").geturl()
        with closing(psycopg.connect(url, autocommit=True)) as server:
            server.execute(statement)

    return run


@pytest.fixture(scope="session")
def address(postgres_server: Server) -> Callable[[str], str]:
    """Return a function that returns the URL of a database on the server."""
    return lambda name: urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def migrated_postgres(
    execute: Callable[[str], None], address: Callable[[str], str]
) -> Iterator[str]:
    """Return the name of a migrated database to make others from."""
    name = f"migrated_{uuid4().hex}"
    execute(f"CREATE DATABASE {name}")
    copying.migrate_target(address(name))
    yield name
    execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated database file to make others from."""
    path = tmp_path_factory.mktemp("migrated") / "usher.sqlite3"
    copying.migrate_target(f"sqlite:///{path}")
    return path


@pytest.fixture
def target(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    execute: Callable[[str], None],
    address: Callable[[str], str],
) -> Iterator[Target]:
    """Return a function that makes a migrated database of a kind and returns its URL."""
    made = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            path = tmp_path / "target.sqlite3"
            shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
            return f"sqlite:///{path}"
        made.append(f"target_{uuid4().hex}")
        template = request.getfixturevalue("migrated_postgres")
        execute(f"CREATE DATABASE {made[-1]} TEMPLATE {template}")
        return address(made[-1])

    yield make
    for name in made:
        execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def other_kind() -> str:
    """Return the kind of database that this pass does not run on."""
    return "sqlite" if connection.vendor == "postgresql" else "postgres"


@pytest.fixture
def world() -> None:
    """Make campaigns, people, coupons, points, a dead delivery, a checkout, and work left to do."""
    demo.seed()
    coupon = Coupon.objects.exclude(user=None).first()
    assert coupon is not None
    terms = checkouts.Terms(code=coupon.code, order_ref="A-1", order_amount=5000, points=1)
    checkouts.start(terms=terms, by=make_service("coupons.redeem_coupon", "points.spend_points"))
    services.register(email="open@example.com", password="a long enough one")


def copy_database(url: str, *arguments: str) -> dict[str, Any]:
    """Run the command and return its JSON document."""
    output = StringIO()
    call_command("copy_database", "--to", url, "--json", *arguments, stdout=output)
    document: dict[str, Any] = json.loads(output.getvalue())
    return document


def sums() -> dict[str, TableSum]:
    """Return the sum of every table of the test's database."""
    with transaction.atomic():
        return {
            model._meta.label: sum_of(model, chunks_of(model, using=DEFAULT_DB_ALIAS))
            for model in copied_models()
        }


@pytest.mark.parametrize("kind", KINDS)
def test_the_copy_is_the_same_and_goes_on_where_it_stood(
    world: None, target: Target, kind: str
) -> None:
    url = target(kind)
    before = sums()
    assert Checkout.objects.exists()
    assert Delivery.objects.filter(state=DeliveryState.PENDING).exists()
    assert Delivery.objects.filter(state=DeliveryState.DEAD).exists()

    document = copy_database(url)

    assert document["verified"]
    assert document["tables"] == {
        label: {"rows": table.rows, "checksum": table.checksum} for label, table in before.items()
    }
    assert sums() == before
    assert run_script(GOES_ON, DATABASE_URL=url) == 0
    assert sums() == before


def test_a_database_without_tables_is_migrated_first(
    tmp_path: Path,
    execute: Callable[[str], None],
    address: Callable[[str], str],
    other_kind: str,
) -> None:
    services.register(email="open@example.com", password="a long enough one")
    name = f"unmade_{uuid4().hex}"
    url = f"sqlite:///{tmp_path / name}" if other_kind == "sqlite" else address(name)
    if other_kind == "postgres":
        execute(f"CREATE DATABASE {name}")
    before = sums()

    plan = copy_database(url, "--dry-run")
    document = copy_database(url)

    assert (plan["migrates_target"], plan["rows"]) == (True, document["rows"])
    assert document["tables"]["accounts.User"]["rows"] == 1
    assert sums() == before
    if other_kind == "postgres":
        execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_target_with_rows_is_refused(target: Target, other_kind: str) -> None:
    services.register(email="mei@example.com", password="a long enough one")
    url = target(other_kind)
    copy_database(url)

    with pytest.raises(CommandError, match=r"not empty: .*accounts_user") as refusal:
        copy_database(url)

    assert refusal.value.returncode == 2


def test_a_dry_run_writes_nothing(world: None, target: Target) -> None:
    url = target("sqlite")

    plan = copy_database(url, "--dry-run")

    assert plan["tables"]["accounts.User"] == User.objects.count()
    assert copy_database(url)["rows"] == plan["rows"]  # the target was still empty


def test_other_threads_know_the_database_in_use_afterwards(target: Target, other_kind: str) -> None:
    copy_database(target(other_kind), "--dry-run")

    with ThreadPoolExecutor(1) as thread:
        vendor = thread.submit(lambda: connections[DEFAULT_DB_ALIAS].vendor).result()

    assert vendor == connection.vendor


def test_a_dry_run_makes_no_file(tmp_path: Path) -> None:
    plan = copy_database(f"sqlite:///{tmp_path}/new.sqlite3", "--dry-run")

    assert plan["migrates_target"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_meanwhile_is_noticed_and_nothing_is_left(
    world: None, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = target("postgres")

    def register_meanwhile(*args: object) -> None:
        services.register(email="meanwhile@example.com", password="a long enough one")

    with monkeypatch.context() as patch:
        patch.setattr(copying, "_reset_sequences", register_meanwhile)
        with pytest.raises(CommandError, match=r"written while .*accounts\.User") as refusal:
            copy_database(url)

    assert refusal.value.returncode == 1
    assert copy_database(url)["verified"]


def test_a_copy_that_is_not_the_same_is_noticed(
    world: None, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = target("sqlite")
    insert = copying._insert_raw

    def lose_the_last(model: Any, fields: Any, rows: Any) -> None:
        if kept := rows[:-1] if model is Event else rows:
            insert(model, fields, kept)

    monkeypatch.setattr(copying, "_insert_raw", lose_the_last)

    with pytest.raises(CommandError, match=r"differs from what was read: events\.Event"):
        copy_database(url)

    monkeypatch.undo()
    assert copy_database(url)["verified"]


def test_a_row_that_does_not_fit_is_named(target: Target) -> None:
    if connection.vendor == "postgresql":
        pytest.skip("only SQLite keeps a text that is too long")
    services.register(email="mei@example.com", password="a long enough one")
    services.register(email="bo@example.com", password="a long enough one")
    Event.objects.filter(pk=Event.objects.latest("pk").pk).update(correlation_id="x" * 500)
    url = target("postgres")

    with pytest.raises(CommandError, match=rf"Event {Event.objects.latest('pk').pk} .*too long"):
        copy_database(url)

    Event.objects.update(correlation_id="short")
    assert copy_database(url)["verified"]


def test_work_in_progress_is_not_copied(world: None, target: Target) -> None:
    delivery = Delivery.objects.filter(state=DeliveryState.PENDING)[0]
    Delivery.objects.filter(pk=delivery.pk).update(
        state=DeliveryState.RUNNING,
        due_at=None,
        lease_token=uuid4(),
        lease_expires_at=timezone.now() + timedelta(seconds=30),
    )

    with pytest.raises(CommandError, match="Workers are at 1 deliveries") as refusal:
        copy_database(target("sqlite"))

    assert refusal.value.returncode == 1


def test_the_database_in_use_is_no_target() -> None:
    with pytest.raises(CommandError, match="runs on") as refusal:
        copy_database(database_url())

    assert refusal.value.returncode == 2


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/x", "usher.sqlite3", "postgres://u:secret@h", "sqlite://:memory:"]
)
def test_what_is_no_database_of_ours_is_wrong_usage(url: str) -> None:
    with pytest.raises(CommandError) as refusal:
        copy_database(url)

    assert refusal.value.returncode == 2
    assert "secret" not in str(refusal.value)


def test_tables_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE albums (id INTEGER PRIMARY KEY)")

    with pytest.raises(CommandError, match="not those of this release") as refusal:
        copy_database(f"sqlite:///{path}")

    assert refusal.value.returncode == 2


def test_a_server_that_is_away_is_told_without_the_password() -> None:
    with pytest.raises(CommandError) as refusal:
        copy_database("postgres://usher:secret@127.0.0.1:1/usher")

    assert refusal.value.returncode == 1
    assert "secret" not in str(refusal.value)
