"""Put deliveries back: `manage.py replay --receiver coupons.issue_welcome_coupons`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.management.choosing import add_selection_arguments, selection_of, show_plan
from events.management.telling import Counter, write_json
from events.operations.replay import REPLAYABLE_STATES, replay


class Command(BaseCommand):
    """Choose deliveries, show the plan or carry it out, and sum up."""

    help = "Puts deliveries back to be run again. Receivers are idempotent: twice changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_selection_arguments(parser, REPLAYABLE_STATES)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        selection = selection_of(options)
        if options["dry_run"]:
            return show_plan(self.stdout, selection, options, would_be="replayed")
        counter = Counter(self.stderr)
        count = replay(selection, limit=options["limit"], progress=counter)
        counter.clear()
        return self._sum_up(count, options)

    def _sum_up(self, count: int, options: dict[str, Any]) -> None:
        if options["json"]:
            return write_json(self.stdout, {"dry_run": False, "replayed": count})
        sentence = f"{count} deliveries replayed." if count else "Nothing to replay."
        return self.stdout.write(sentence)
