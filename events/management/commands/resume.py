"""Let a paused receiver run again: `manage.py resume RECEIVER`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.telling import write_json
from events.management.usage import USAGE_ERROR
from events.operations.pausing import UnknownReceiver, resume


class Command(BaseCommand):
    """Resume a receiver."""

    help = "Lets a paused receiver run again; what waited for it begins at once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("receiver", metavar="RECEIVER")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        name = options["receiver"]
        try:
            changed = resume(name)
        except UnknownReceiver as error:
            raise CommandError(str(error), returncode=USAGE_ERROR) from None
        if options["json"]:
            document = {"receiver": name, "paused": False, "changed": changed}
            return write_json(self.stdout, document)
        return self.stdout.write(
            f"{name} runs again." if changed else f"Nothing to do: {name} is not paused."
        )
