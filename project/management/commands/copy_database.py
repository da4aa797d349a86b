"""Copy everything to another database: `manage.py copy_database --to postgres://…`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from events.management.telling import counted, write_json
from events.management.usage import USAGE_ERROR
from events.operations.checksum import TableSum, checksum_of
from project.copying.copy import (
    NotCopied,
    WrongTarget,
    check_source,
    check_target,
    copy,
    is_unmade,
    migrate_target,
    plan,
)
from project.copying.databases import NoSuchTarget, both_ends, name_of


class Command(BaseCommand):
    """Copy and verify, or show the plan."""

    help = (
        "Copies all rows to an empty database (SQLite or PostgreSQL) and compares both, table by "
        "table. Stop web and workers first. The target gets everything or nothing, this database "
        "is only read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--to",
            required=True,
            metavar="URL",
            help="postgres://… or sqlite:///…",
        )
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run. Raises CommandError: 1 where it could not be copied, 2 where the target is wrong."""
        began = monotonic()
        with _refusals(), both_ends(options["to"]) as (source, target):
            names = {"source": name_of(source), "target": name_of(target)}
            check_source()
            migrates = is_unmade(target)
            if not migrates:
                check_target(target)
            if options["dry_run"]:
                return self._tell_plan(plan(), names, options, migrates=migrates)
            if migrates:
                self.stderr.write("Making the tables.", str)
                migrate_target(options["to"])
            with counted(self.stderr) as counter:
                sums = copy(source, target, counter)
        return self._sum_up(sums, names, options, monotonic() - began)

    def _tell_plan(
        self,
        rows: dict[str, int],
        names: dict[str, str],
        options: dict[str, Any],
        *,
        migrates: bool,
    ) -> None:
        if options["json"]:
            document = {"dry_run": True, **names, "migrates_target": migrates, "tables": rows}
            return write_json(self.stdout, document | {"rows": sum(rows.values())})
        for label, count in rows.items():
            self.stdout.write(f"{count:>10}  {label}")
        first = " It would be migrated first." if migrates else ""
        return self.stdout.write(
            f"{sum(rows.values())} rows would be copied from {names['source']} to "
            f"{names['target']}.{first} Nothing was written."
        )

    def _sum_up(
        self,
        sums: dict[str, TableSum],
        names: dict[str, str],
        options: dict[str, Any],
        seconds: float,
    ) -> None:
        rows = sum(table.rows for table in sums.values())
        if options["json"]:
            document = {
                "dry_run": False,
                **names,
                "tables": {label: asdict(table) for label, table in sums.items()},
                "rows": rows,
                "checksum": checksum_of(sums),
                "verified": True,
                "seconds": round(seconds, 1),
            }
            return write_json(self.stdout, document)
        for label, table in sums.items():
            self.stdout.write(f"{table.rows:>10}  {label}  {table.checksum[:16]}")
        return self.stdout.write(
            f"{rows} rows copied from {names['source']} to {names['target']} in {seconds:.0f} s, "
            "and found to be the same there. Set DATABASE_URL to the new one before web and "
            "workers start again; keep SECRET_KEY."
        )


@contextmanager
def _refusals() -> Iterator[None]:
    """Say what is in the way, without the password that is in the URL."""
    try:
        yield
    except (NoSuchTarget, WrongTarget) as error:
        raise CommandError(str(error), returncode=USAGE_ERROR) from None
    except NotCopied as error:
        raise CommandError(str(error)) from None
    except Error as error:
        why = str(error).strip().partition("\n")[0]
        raise CommandError(f"A database does not answer as it should: {why}") from None
