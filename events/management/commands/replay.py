"""Put deliveries back: `manage.py replay --receiver coupons.issue_welcome_coupons`."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.usage import USAGE_ERROR, event_id, moment, positive
from events.models import Delivery, Event, ReceiverState
from events.operations.replay import REPLAYABLE_STATES, replay
from events.operations.selection import Selection
from events.receivers import all_receivers
from events.signals import all_signals

SHOWN_IN_PLAN = 20


class Command(BaseCommand):
    """Choose deliveries, show the plan or carry it out, and sum up."""

    help = "Puts deliveries back to be run again. Receivers are idempotent: twice changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        states = [state.value for state in REPLAYABLE_STATES]
        parser.add_argument("--state", choices=states, default="dead", help="default: dead")
        parser.add_argument("--receiver", metavar="NAME")
        parser.add_argument("--event", type=event_id, metavar="ID")
        parser.add_argument("--type", metavar="TYPE", help="for instance accounts.user_registered")
        parser.add_argument("--since", type=moment, metavar="TIME", help="events from this time")
        parser.add_argument("--until", type=moment, metavar="TIME", help="events before this time")
        parser.add_argument("--key", help="for instance a user's id")
        parser.add_argument("--fingerprint", help="failures of one kind")
        parser.add_argument("--limit", type=positive, metavar="N")
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        selection = Selection(
            state=options["state"],
            receiver=options["receiver"],
            event_id=options["event"],
            type=options["type"],
            since=options["since"],
            until=options["until"],
            key=options["key"],
            fingerprint=options["fingerprint"],
        )
        _refuse_unknown(selection)
        if options["dry_run"]:
            return self._show_plan(selection, options)
        count = replay(selection, limit=options["limit"], progress=self._progress())
        return self._sum_up(count, options)

    def _show_plan(self, selection: Selection, options: dict[str, Any]) -> None:
        planned = list(selection.deliveries()[: options["limit"]])
        if options["json"]:
            rows = [_row(delivery) for delivery in planned]
            return self._print_json({"dry_run": True, "matched": len(rows), "deliveries": rows})
        for delivery in planned[:SHOWN_IN_PLAN]:
            row = _row(delivery)
            self.stdout.write(f"{row['receiver']}  {row['event']}  {row['last_error']}")
        if len(planned) > SHOWN_IN_PLAN:
            self.stdout.write(f"… and {len(planned) - SHOWN_IN_PLAN} more")
        self.stdout.write(f"{len(planned)} deliveries would be replayed. Nothing was written.")
        return None

    def _sum_up(self, count: int, options: dict[str, Any]) -> None:
        if options["json"]:
            return self._print_json({"dry_run": False, "replayed": count})
        sentence = f"{count} deliveries replayed." if count else "Nothing to replay."
        return self.stdout.write(sentence)

    def _print_json(self, document: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(document, indent=2))

    def _progress(self) -> Any:
        total = 0

        def show(count: int) -> None:
            nonlocal total
            total += count
            if sys.stderr.isatty():
                self.stderr.write(f"\r{total} …", ending="")

        return show


def _refuse_unknown(selection: Selection) -> None:
    """Say so where a name or id is unknown: a typo must not look like "nothing to do"."""
    if selection.event_id and not Event.objects.filter(event_id=selection.event_id).exists():
        raise CommandError(f"There is no event {selection.event_id}.", returncode=USAGE_ERROR)
    if selection.receiver and not _is_receiver(selection.receiver):
        names = ", ".join(receiver.name for receiver in all_receivers())
        raise CommandError(
            f"There is no receiver {selection.receiver!r}. There are: {names}.",
            returncode=USAGE_ERROR,
        )
    if selection.type and not _is_type(selection.type):
        types = ", ".join(signal.type for signal in all_signals())
        raise CommandError(
            f"There is no event type {selection.type!r}. There are: {types}.",
            returncode=USAGE_ERROR,
        )


def _is_receiver(name: str) -> bool:
    known = any(receiver.name == name for receiver in all_receivers())
    return known or ReceiverState.objects.filter(name=name).exists()


def _is_type(type_: str) -> bool:
    known = any(signal.type == type_ for signal in all_signals())
    return known or Event.objects.filter(type=type_).exists()


def _row(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": str(delivery.pk),
        "receiver": delivery.receiver,
        "event": str(delivery.event_id),
        "type": delivery.type,
        "key": delivery.key,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
        "fingerprint": delivery.fingerprint,
    }
