"""Delete what was noticed and has expired: `manage.py clear_risk_signals`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.risk import count_expired_signals, delete_expired_signals
from events.management.telling import write_json


class Command(BaseCommand):
    """Delete expired risk signals, or show how many would go."""

    help = (
        "Deletes risk signals that have expired, such as hashed network addresses. Workers do the "
        "same once a day."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        dry_run = options["dry_run"]
        count = count_expired_signals() if dry_run else delete_expired_signals()
        if options["json"]:
            return write_json(self.stdout, {"dry_run": dry_run, "signals": count})
        went = "would be deleted. Nothing was written." if dry_run else "deleted."
        return self.stdout.write(f"{count} expired risk signals {went}")
