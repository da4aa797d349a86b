"""Make the demo data: `manage.py seed_demo`."""

import json
import os
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from project import demo


class Command(BaseCommand):
    """Make what is missing of the demo data, and say what was made."""

    help = "Makes demo campaigns, people, a staff login and one dead delivery. Repeatable."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--dry-run", action="store_true", help="write nothing, print the plan")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed and report."""
        if settings.PRODUCTION:
            raise CommandError("Demo data and its staff login have no place in production.")
        seeded = demo.seed(
            staff_password=os.environ.get("DEMO_ADMIN_PASSWORD", ""), dry_run=options["dry_run"]
        )
        if options["json"]:
            document = {"dry_run": options["dry_run"], **asdict(seeded)}
            self.stdout.write(json.dumps(document, indent=2))
        else:
            self._tell(seeded, dry_run=options["dry_run"])

    def _tell(self, seeded: demo.Seeded, *, dry_run: bool) -> None:
        for name in seeded.created:
            self.stdout.write(f"{'would make' if dry_run else 'made'} {name}")
        if seeded.staff_password:
            self.stdout.write(f"password of {demo.STAFF_EMAIL}: {seeded.staff_password}")
        made, existing = len(seeded.created), len(seeded.existing)
        self.stdout.write(f"{made} {'to make' if dry_run else 'made'}, {existing} there already.")
