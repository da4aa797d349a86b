"""Stop a receiver for a while: `manage.py pause RECEIVER --by NAME --reason TEXT`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.telling import write_json
from events.management.usage import USAGE_ERROR
from events.models import ReceiverState
from events.operations.pausing import UnknownReceiver, pause
from events.operations.signature import Unsigned

_PAUSED = (
    "{name} is paused. What it runs already finishes; new work waits until "
    "`manage.py resume {name}`."
)


class Command(BaseCommand):
    """Pause a receiver and say who had, if somebody had."""

    help = "Pauses a receiver: its deliveries wait, others go on. What runs already finishes."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("receiver", metavar="RECEIVER")
        parser.add_argument("--by", required=True, metavar="NAME", help="who decides this")
        parser.add_argument("--reason", required=True, metavar="TEXT")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        name = options["receiver"]
        try:
            changed = pause(name, by=options["by"], reason=options["reason"])
        except (UnknownReceiver, Unsigned) as error:
            raise CommandError(str(error), returncode=USAGE_ERROR) from None
        if options["json"]:
            document = {"receiver": name, "paused": True, "changed": changed}
            return write_json(self.stdout, document)
        return self.stdout.write(_PAUSED.format(name=name) if changed else _explained(name))


def _explained(name: str) -> str:
    state = ReceiverState.objects.filter(name=name, paused_at__isnull=False).first()
    if state is None:  # resumed this very moment
        return f"Nothing to do: {name} was paused already."
    return (
        f"Nothing to do: {name} has been paused since {state.paused_at:%Y-%m-%d %H:%M} UTC "
        f"by {state.paused_by} ({state.pause_reason})."
    )
