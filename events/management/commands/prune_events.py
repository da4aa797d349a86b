"""Delete what is finished and old: `manage.py prune_events --older-than 90d`."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from events.management.telling import counted, write_json
from events.management.usage import duration
from events.operations.prune import planned_prune, prune


class Command(BaseCommand):
    """Prune, or show how many rows would go."""

    help = (
        "Deletes finished deliveries, failed attempts, past alarms and the sets of ended "
        "interventions beyond an age, in small batches. "
        "Unfinished work, events and processed ids stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--older-than",
            type=duration,
            required=True,
            metavar="AGE",
            help="since they finished: 90d, 12h or 2w",
        )
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        cutoff = timezone.now() - options["older_than"]
        if options["dry_run"]:
            result = planned_prune(cutoff)
        else:
            with counted(self.stderr) as counter:
                result = prune(cutoff, progress=counter)
        if options["json"]:
            figures = asdict(result)
            document = {"dry_run": options["dry_run"], "finished_before": cutoff}
            write_json(self.stdout, document | figures.pop("others") | figures)
            return
        went = "would be deleted. Nothing was written." if options["dry_run"] else "deleted."
        self.stdout.write(
            f"{result.deliveries} finished deliveries and {result.attempts} failed attempts from "
            f"before {cutoff:%Y-%m-%d %H:%M} UTC {went}"
        )
        for name, count in result.others.items():
            if count:
                self.stdout.write(f"{count} {name.replace('_', ' ')} from before then {went}")
