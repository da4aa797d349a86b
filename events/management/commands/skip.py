"""Give deliveries up for good: `manage.py skip --event ID --by NAME --reason TEXT`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.choosing import add_selection_arguments, selection_of, show_plan
from events.management.telling import counted, write_json
from events.management.usage import USAGE_ERROR
from events.operations.signature import Unsigned, signed
from events.operations.skip import SKIPPABLE_STATES, skip


class Command(BaseCommand):
    """Choose deliveries, show the plan or carry it out, and sum up."""

    help = (
        "Gives deliveries up: they never run, and what waits behind them goes on. "
        "`replay --state skipped` takes it back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_selection_arguments(parser, SKIPPABLE_STATES)
        parser.add_argument("--by", required=True, metavar="NAME", help="who decides this")
        parser.add_argument("--reason", required=True, metavar="TEXT", help="kept with each")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        selection = selection_of(options)
        try:
            by, reason = signed(by=options["by"], reason=options["reason"])
        except Unsigned as error:
            raise CommandError(str(error), returncode=USAGE_ERROR) from None
        if options["dry_run"]:
            return show_plan(self.stdout, selection, options, would_be="skipped")
        with counted(self.stderr) as counter:
            skipped, let_be = skip(
                selection, by=by, reason=reason, limit=options["limit"], progress=counter
            )
        return self._sum_up(skipped, let_be, options)

    def _sum_up(self, skipped: int, let_be: int, options: dict[str, Any]) -> None:
        if options["json"]:
            document = {"dry_run": False, "skipped": skipped, "let_be": let_be}
            return write_json(self.stdout, document)
        self.stdout.write(f"{skipped} deliveries skipped." if skipped else "Nothing to skip.")
        if let_be:
            self.stdout.write(
                f"{let_be} more were chosen, but a worker or another operator took them meanwhile. "
                "`manage.py events_status` shows what runs."
            )
        return None
