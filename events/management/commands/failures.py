"""Show what fails, by its cause: `manage.py failures`."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.management.choosing import refuse_unknown_receiver
from events.management.telling import write_json
from events.operations.bounded import MOST
from events.operations.failure_groups import FailureGroup, failure_groups


class Command(BaseCommand):
    """Print a few lines for each cause, or a JSON document."""

    help = (
        "Per receiver and cause: how many deliveries are dead, how many failed and are to be tried "
        "again, how many people are affected, and the latest error. Counts end at "
        f"{MOST:,}, shown with a plus."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--receiver", default="", metavar="NAME", help="default: all")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the groups."""
        if options["receiver"]:
            refuse_unknown_receiver(options["receiver"])
        groups = failure_groups(options["receiver"])
        if options["json"]:
            return write_json(
                self.stdout, {"most": MOST, "failures": [_document(each) for each in groups]}
            )
        for group in groups:
            self.stdout.write(_told(group))
        return None if groups else self.stdout.write("Nothing fails.")


def _document(group: FailureGroup) -> dict[str, Any]:
    """Return a group as JSON has it; a count of `most` + 1 means that there are more."""
    figures = asdict(group)
    return {"dead": figures.pop("count"), **figures}


def _told(group: FailureGroup) -> str:
    parts = [f"{_up_to(group.count)} dead", f"{_up_to(group.retrying)} to be tried again"]
    if group.next_at:
        parts[1] += f" (next {group.next_at:%Y-%m-%d %H:%M:%S} UTC)"
    if group.last_at:
        parts[0] += f" (latest {group.last_at:%Y-%m-%d %H:%M:%S} UTC)"
    figures = ", ".join([*parts, f"{_up_to(group.affected)} affected"])
    return f"{group.receiver} {group.fingerprint or '-'}: {figures}\n    {group.error}"


def _up_to(count: int) -> str:
    return f"{MOST:,}+" if count > MOST else str(count)
