"""Copy every row to an empty database, in one transaction of its, and prove that all are there."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.color import no_style
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model
from django.db.models.functions import Now

from events.models import Delivery
from events.operations.checksum import TableSum
from project.copying.databases import SOURCE, TARGET, snapshot
from project.copying.tables import (
    FILLED_BY_MIGRATE,
    Sum,
    chunks_of,
    copied_models,
    sum_of,
    written_fields,
)

Progress = Callable[[int], None]

TABLES_NAMED = 5  # of those that stand in the way


class NotCopied(Exception):
    """Nothing was copied; the text says why, and what to do."""


class WrongTarget(NotCopied):
    """The target is not one that may be copied to."""


class NotAsThought(NotCopied):
    """The source is written, or a row does not fit, or the copy is not the same."""


def check_source() -> None:
    """Refuse a source that this release has not migrated, or that is worked on.

    Raises NotAsThought.
    """
    if not _is_migrated(connections[SOURCE]):
        raise NotAsThought("This database lacks migrations. Run `manage.py migrate` first.")
    leased = Delivery.objects.using(SOURCE).filter(lease_expires_at__gt=Now()).count()
    if leased:
        raise NotAsThought(
            f"Workers are at {leased} deliveries. Stop web and workers, wait until they have "
            "ended (30 s after one was killed), and call it again."
        )


def is_unmade(target: BaseDatabaseWrapper) -> bool:
    """Tell whether the target has no tables yet. A file that is not there is not made by asking."""
    if target.vendor == "sqlite" and not Path(target.settings_dict["NAME"]).exists():
        return True
    return not target.introspection.table_names()


def check_target(target: BaseDatabaseWrapper) -> None:
    """Refuse a target that has rows, or the tables of another release. Raises WrongTarget."""
    if not _is_migrated(target):
        raise WrongTarget(
            "The target has tables, but not those of this release. Make an empty database, or "
            "migrate it with this release."
        )
    filled = [
        model._meta.db_table
        for model in copied_models()
        if model._meta.db_table not in FILLED_BY_MIGRATE
        and model._base_manager.using(TARGET).exists()
    ]
    if filled:
        more = ", …" if len(filled) > TABLES_NAMED else ""
        names = f"{', '.join(filled[:TABLES_NAMED])}{more}"
        raise WrongTarget(
            f"The target is not empty: there are rows in {names}. Nothing is ever written over. "
            "Drop that database and make it anew."
        )


def migrate_target(url: str) -> None:
    """Make the tables in the target, as `manage.py migrate` does there.

    In a process whose database it is: what migrations do to rows, they do in the default one.
    Raises NotAsThought with what that process said last.
    """
    options = ["--run-syncdb", "--verbosity=0", "--skip-checks"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "manage.py", "migrate", *options],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DATABASE_URL": url, "USHER_WEB": "off", "USHER_WORKER": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise NotAsThought(f"The target could not be migrated: {last}")


def plan() -> dict[str, int]:
    """Return how many rows each table has now."""
    return {
        model._meta.label: model._base_manager.using(SOURCE).count() for model in copied_models()
    }


def copy(
    source: BaseDatabaseWrapper, target: BaseDatabaseWrapper, progress: Progress
) -> dict[str, TableSum]:
    """Copy everything, compare, and return the sum of each table.

    The target gets all rows or none: whatever goes wrong leaves it as empty as it was. Raises
    WrongTarget where it is not empty, and NotAsThought where a row does not fit, where what is
    there afterwards is not the same, and where the source was written meanwhile.
    """
    with transaction.atomic(using=TARGET):
        _hold(target)
        check_target(target)
        _empty_what_migrate_filled(target)
        with snapshot(source):
            sums = {m._meta.label: _copy_table(m, target, progress) for m in copied_models()}
        _reset_sequences(target)
        _compare(sums, _sums(TARGET), "The copy differs from what was read")
        with snapshot(source):
            _compare(
                sums,
                _sums(SOURCE),
                "This database was written while it was copied. Stop web and workers, and leave "
                "them stopped until DATABASE_URL is the new one. It was written",
            )
    _analyze(target)
    return sums


def _is_migrated(database: BaseDatabaseWrapper) -> bool:
    """Tell whether a database has this release's migrations, and none that this one lacks."""
    executor = MigrationExecutor(database)
    loader = executor.loader
    known = set(loader.disk_migrations) | set(loader.replacements)
    ours = {app for app, _name in known}
    foreign = {name for name in loader.applied_migrations if name[0] in ours} - known
    return not foreign and not executor.migration_plan(loader.graph.leaf_nodes())


def _hold(target: BaseDatabaseWrapper) -> None:
    """Let no other copy, and no migration, come in between. On SQLite the transaction does that."""
    if target.vendor != "postgresql":
        return
    with target.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("LOCK TABLE django_migrations IN EXCLUSIVE MODE")


def _empty_what_migrate_filled(target: BaseDatabaseWrapper) -> None:
    # As SQL: what hangs on these rows is empty, and foreign keys are looked at when it commits.
    with target.cursor() as cursor:
        for table in FILLED_BY_MIGRATE:
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608  names of ours


def _copy_table(model: type[Model], target: BaseDatabaseWrapper, progress: Progress) -> TableSum:
    added = Sum(model)
    for rows in chunks_of(model, using=SOURCE):
        added.add(rows)
        _insert(model, rows, target)
        progress(len(rows))
    return added.result()


def _insert(model: type[Model], rows: Sequence[Model], target: BaseDatabaseWrapper) -> None:
    """Insert rows as they are: no `save`, no signal, no time of now. Raises NotAsThought."""
    fields = written_fields(model)
    at_once = min(len(rows), target.ops.bulk_batch_size(fields, rows) or len(rows))
    for start in range(0, len(rows), at_once):
        batch = rows[start : start + at_once]
        try:
            with transaction.atomic(using=TARGET):
                _insert_raw(model, fields, batch)
        except DatabaseError as error:
            if len(batch) == 1:
                raise NotAsThought(_misfit(model, batch[0], error)) from None
            for row in batch:  # which of them is it?
                _insert(model, [row], target)


def _insert_raw(model: type[Model], fields: Sequence[Any], rows: Sequence[Model]) -> None:
    queryset: Any = model._base_manager.using(TARGET)
    queryset.all()._insert(rows, fields=fields, using=TARGET, raw=True)


def _misfit(model: type[Model], row: Model, error: DatabaseError) -> str:
    # The first line: what PostgreSQL says after it quotes the row.
    why = str(error).partition("\n")[0]
    return f"{model._meta.label} {row.pk} does not fit into the target: {why}. Nothing was copied."


def _reset_sequences(target: BaseDatabaseWrapper) -> None:
    """Let new rows get ids after those that are there. SQLite does so by itself."""
    statements = target.ops.sequence_reset_sql(no_style(), copied_models())
    with target.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _sums(using: str) -> dict[str, TableSum]:
    return {m._meta.label: sum_of(m, chunks_of(m, using=using)) for m in copied_models()}


def _compare(expected: dict[str, TableSum], found: dict[str, TableSum], what: str) -> None:
    differing: Iterable[str] = sorted(name for name in expected if expected[name] != found[name])
    if differing:
        raise NotAsThought(f"{what}: {', '.join(differing)}. Nothing was copied.")


def _analyze(target: BaseDatabaseWrapper) -> None:
    """Let the target know its tables' sizes, or its first plans are for empty ones."""
    with target.cursor() as cursor:
        cursor.execute("ANALYZE")
