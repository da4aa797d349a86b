"""Compare points accounts with their entries: `manage.py rebuild_points --repair` mends them."""

import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.management.telling import counted, write_json
from points.rebuilding import Difference, differences


class Command(BaseCommand):
    """Show every stored figure that is not what the ledger says, and put it right."""

    help = (
        "Recomputes balances, sums and lots from entries and decisions, and reports what differs. "
        "Exit code 1 where something differs and was not repaired."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--repair", action="store_true", help="store what was recomputed")
        parser.add_argument("--dry-run", action="store_true", help="write nothing, as by default")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        repair = options["repair"] and not options["dry_run"]
        with counted(self.stderr) as counter:
            found = list(differences(repair=repair, progress=counter))
        if options["json"]:
            document = {
                "accounts": counter.total,
                "repaired": repair,
                "differences": [asdict(difference) for difference in found],
            }
            write_json(self.stdout, document)
        else:
            self._tell(found, counter.total, repair=repair)
        if found and not repair:
            sys.exit(1)

    def _tell(self, found: list[Difference], accounts: int, *, repair: bool) -> None:
        for difference in found:
            self.stdout.write(_line(difference))
        done = ", repaired" if repair and found else ""
        self.stdout.write(f"{accounts} accounts compared: {len(found)} differences{done}.")


def _line(difference: Difference) -> str:
    what = f"lot {difference.lot_id}" if difference.lot_id else difference.what
    stored = "missing" if difference.stored is None else difference.stored
    return f"account {difference.account_id}: {what} is {stored}, not {difference.rebuilt}"
