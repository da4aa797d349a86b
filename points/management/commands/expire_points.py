"""Expire what has lapsed: `manage.py expire_points`."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from events.management.telling import counted, write_json
from points.expiry import expire_due, planned_expiry


class Command(BaseCommand):
    """Expire points, or show how many would."""

    help = "Takes lapsed points off, in short transactions. Workers do the same by schedule."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        now = timezone.now()
        if options["dry_run"]:
            expired = planned_expiry(now)
        else:
            with counted(self.stderr) as counter:
                expired = expire_due(now=now, progress=counter)
        if options["json"]:
            document = {"dry_run": options["dry_run"], "lapsed_by": now, **asdict(expired)}
            return write_json(self.stdout, document)
        did = "would expire. Nothing was written." if options["dry_run"] else "expired."
        return self.stdout.write(f"{expired.points} points of {expired.lots} credits {did}")
