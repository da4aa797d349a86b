"""Deliver history to a receiver: `manage.py backfill RECEIVER --since TIME`."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.telling import counted, write_json
from events.management.usage import USAGE_ERROR, moment
from events.operations.backfill import Backfilled, HistoryPruned, backfill, planned_backfill
from events.receivers import Receiver, all_receivers, get_receiver


class Command(BaseCommand):
    """Add the deliveries that history lacks, or show how many those are."""

    help = (
        "Delivers history to a receiver: every event of its types since a time that it was not "
        "given. They run out of order. Repeatable; an interrupted call is finished by the next."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("receiver", metavar="RECEIVER")
        parser.add_argument(
            "--since", type=moment, required=True, metavar="TIME", help="events from this time"
        )
        parser.add_argument("--until", type=moment, metavar="TIME", help="events before this time")
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        receiver = _receiver(options["receiver"])
        span = {"since": options["since"], "until": options["until"]}
        if span["until"] and span["until"] <= span["since"]:
            raise CommandError("--until is not after --since.", returncode=USAGE_ERROR)
        try:
            if options["dry_run"]:
                result = planned_backfill(receiver, **span)
            else:
                with counted(self.stderr) as counter:
                    result = backfill(receiver, **span, progress=counter)
        except HistoryPruned as error:
            raise CommandError(str(error), returncode=USAGE_ERROR) from None
        self._sum_up(receiver, result, options)

    def _sum_up(self, receiver: Receiver, result: Backfilled, options: dict[str, Any]) -> None:
        if options["json"]:
            document = {"dry_run": options["dry_run"], "receiver": receiver.name, **asdict(result)}
            return write_json(self.stdout, document)
        had_one = f"{result.had_one} events had been given to it before."
        if not result.delivered:
            return self.stdout.write(f"Nothing to deliver to {receiver.name}. {had_one}")
        if options["dry_run"]:
            return self.stdout.write(
                f"{result.delivered} events would be delivered to {receiver.name}; {had_one} "
                "Nothing was written."
            )
        return self.stdout.write(
            f"{result.delivered} events are due for {receiver.name} now; {had_one} "
            "`manage.py events_status` shows how they go."
        )


def _receiver(name: str) -> Receiver:
    try:
        return get_receiver(name)
    except KeyError:
        names = ", ".join(receiver.name for receiver in all_receivers())
        raise CommandError(
            f"This release has no receiver {name!r}. There are: {names}.", returncode=USAGE_ERROR
        ) from None
