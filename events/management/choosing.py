"""Choosing deliveries on a command line, the same way in every command that acts on them."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from events.management.telling import write_json
from events.management.usage import USAGE_ERROR, event_id, moment, positive
from events.models import Delivery, DeliveryState, Event
from events.operations.known import is_receiver, is_type
from events.operations.selection import Selection
from events.receivers import all_receivers
from events.signals import all_signals

SHOWN_IN_PLAN = 20


def add_selection_arguments(parser: CommandParser, states: Sequence[DeliveryState]) -> None:
    """Declare the options that choose deliveries, and what every such command offers besides."""
    values = [state.value for state in states]
    parser.add_argument("--state", choices=values, default="dead", help="default: dead")
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


def selection_of(options: dict[str, Any]) -> Selection:
    """Return what the options choose. Raises CommandError where a name or id is unknown."""
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
    return selection


def refuse_unknown_receiver(name: str) -> None:
    """Raise CommandError where no release of this database's had a receiver of that name."""
    if not is_receiver(name):
        names = ", ".join(receiver.name for receiver in all_receivers())
        raise CommandError(
            f"There is no receiver {name!r}. There are: {names}.", returncode=USAGE_ERROR
        )


def show_plan(
    out: OutputWrapper, selection: Selection, options: dict[str, Any], *, would_be: str
) -> None:
    """Print what would be done ("replayed") to the chosen deliveries."""
    planned = selection.deliveries()[: options["limit"]]
    if options["json"]:
        rows = [_row_of(delivery) for delivery in planned.iterator()]
        return write_json(out, {"dry_run": True, "matched": len(rows), "deliveries": rows})
    count = planned.count()
    for delivery in selection.deliveries()[: min(count, SHOWN_IN_PLAN)]:
        out.write(f"{delivery.receiver}  {delivery.event_id}  {delivery.last_error}".rstrip())
    if count > SHOWN_IN_PLAN:
        out.write(f"… and {count - SHOWN_IN_PLAN} more")
    out.write(f"{count} deliveries would be {would_be}. Nothing was written.")
    return None


def _row_of(delivery: Delivery) -> dict[str, Any]:
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


def _refuse_unknown(selection: Selection) -> None:
    if selection.event_id and not Event.objects.filter(event_id=selection.event_id).exists():
        raise CommandError(f"There is no event {selection.event_id}.", returncode=USAGE_ERROR)
    if selection.receiver:
        refuse_unknown_receiver(selection.receiver)
    if selection.type and not is_type(selection.type):
        types = ", ".join(signal.type for signal in all_signals())
        raise CommandError(
            f"There is no event type {selection.type!r}. There are: {types}.",
            returncode=USAGE_ERROR,
        )
