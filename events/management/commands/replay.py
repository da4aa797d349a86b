"""Put deliveries back: `manage.py replay --receiver coupons.issue_welcome_coupons`."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.choosing import add_selection_arguments, selection_of, show_plan
from events.management.previewing import write_previews, write_previews_as_json
from events.management.staging import bounded, follow, refuse_half_a_word
from events.management.telling import Counter, counted, write_json
from events.management.usage import USAGE_ERROR
from events.operations.preview import preview
from events.operations.replay import REPLAYABLE_STATES, replay
from events.operations.selection import Selection


class Command(BaseCommand):
    """Choose deliveries, show the plan or carry it out, and sum up."""

    help = (
        "Puts deliveries back to be run again. Receivers are idempotent: twice changes nothing. "
        "With --in-stages one first, then ten, then all, until one fails again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_selection_arguments(parser, REPLAYABLE_STATES)
        parser.add_argument(
            "--preview",
            action="store_true",
            help="run the receivers, roll everything back and print the rows that would change",
        )
        parser.add_argument(
            "--in-stages",
            action="store_true",
            help="freeze the dead ones of a --receiver; workers put back one, then ten, then all, "
            "and stop when one fails again. Needs --by and --reason",
        )
        parser.add_argument("--by", metavar="NAME", help="with --in-stages: who decides this")
        parser.add_argument("--reason", metavar="TEXT", help="with --in-stages: why")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        if options["dry_run"] and options["preview"]:
            raise CommandError("Choose one of --dry-run, --preview.", returncode=USAGE_ERROR)
        selection = selection_of(options)
        refuse_half_a_word(options)
        if options["dry_run"]:
            planned = bounded(options) if options["in_stages"] else options
            return show_plan(self.stdout, selection, planned, would_be="replayed")
        if options["preview"]:
            return self._preview(selection, options)
        if options["in_stages"]:
            return follow(selection, self.stdout, self.stderr, options)
        with counted(self.stderr) as counter:
            count = replay(selection, limit=options["limit"], progress=counter)
        return self._sum_up(count, options)

    def _preview(self, selection: Selection, options: dict[str, Any]) -> None:
        found = preview(selection, limit=options["limit"])
        try:
            if options["json"]:
                fails = write_previews_as_json(self.stdout, found, Counter(self.stderr))
            else:
                fails = write_previews(self.stdout, found)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Nothing was written.") from None
        if fails:
            sys.exit(1)

    def _sum_up(self, count: int, options: dict[str, Any]) -> None:
        if options["json"]:
            return write_json(self.stdout, {"dry_run": False, "replayed": count})
        sentence = f"{count} deliveries replayed." if count else "Nothing to replay."
        return self.stdout.write(sentence)
