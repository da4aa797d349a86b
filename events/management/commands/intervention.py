"""Show interventions, go on with one or give it up: `manage.py intervention 7 --go-on …`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.interventions import Intervention
from events.management.staging import document_of, sentence_of
from events.management.telling import write_json
from events.management.usage import USAGE_ERROR
from events.operations import staged
from events.operations.signature import Unsigned


class Command(BaseCommand):
    """Tell how interventions stand, or decide about one that has stopped."""

    help = (
        "Tells how the open interventions stand (they begin in the admin's event monitor, or by "
        "`replay --in-stages`), or decides about one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("id", nargs="?", type=int, metavar="ID", help="default: all open ones")
        decision = parser.add_mutually_exclusive_group()
        decision.add_argument("--go-on", action="store_true", help="a stopped one; see the docs")
        decision.add_argument("--give-up", action="store_true", help="touch nothing more of it")
        parser.add_argument("--by", default="", metavar="NAME", help="who decides this")
        parser.add_argument("--reason", default="", metavar="TEXT")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        if options["go_on"] or options["give_up"]:
            self._decide(options)
        found = self._found(options["id"])
        if options["json"]:
            return write_json(self.stdout, {"interventions": [document_of(each) for each in found]})
        for each in found:
            self.stdout.write(sentence_of(each))
        return None if found else self.stdout.write("No intervention is open.")

    def _found(self, pk: int | None) -> list[Intervention]:
        if pk is None:
            return list(Intervention.objects.filter(ended_at__isnull=True).order_by("pk"))
        found = list(Intervention.objects.filter(pk=pk))
        if not found:
            raise CommandError(f"There is no intervention {pk}.", returncode=USAGE_ERROR)
        return found

    def _decide(self, options: dict[str, Any]) -> None:
        if options["id"] is None:
            raise CommandError("Say which: manage.py intervention ID.", returncode=USAGE_ERROR)
        (found,) = self._found(options["id"])
        decide = staged.go_on if options["go_on"] else staged.abandon
        try:
            changed = decide(found.pk, by=options["by"], reason=options["reason"])
        except Unsigned as error:
            raise CommandError(str(error), returncode=USAGE_ERROR) from None
        if not changed:
            self.stderr.write("Nothing was done: it is not open, or has not stopped.")
