"""Show how the receivers are doing: `manage.py events_status`."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.operations.status import ReceiverStatus, receiver_statuses

COLUMNS = {
    "receiver": "RECEIVER",
    "due": "DUE",
    "scheduled": "LATER",
    "running": "RUNNING",
    "waiting": "WAITING",
    "dead": "DEAD",
    "oldest_due_age_s": "OLDEST s",
    "rate_per_s": "DONE/s",
    "p50_s": "P50 s",
    "p95_s": "P95 s",
}


class Command(BaseCommand):
    """Print a table or a JSON document."""

    help = "Per receiver: due, running and dead deliveries, oldest age, rate, p50/p95 to done."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the statuses."""
        statuses = receiver_statuses()
        if options["json"]:
            document = {"receivers": [asdict(status) for status in statuses]}
            return self.stdout.write(json.dumps(document, indent=2))
        return self.stdout.write(_table([_cells(status) for status in statuses]))


def _cells(status: ReceiverStatus) -> list[str]:
    values = [getattr(status, field) for field in COLUMNS]
    cells = ["-" if value is None else str(value) for value in values]
    return [cells[0] + (" (paused)" if status.paused else ""), *cells[1:]]


def _table(rows: list[list[str]]) -> str:
    lines = [list(COLUMNS.values()), *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
