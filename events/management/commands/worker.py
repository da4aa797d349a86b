"""Serve the queues: `manage.py worker [QUEUE …]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.delivery.supervisor import Supervisor
from events.management.usage import USAGE_ERROR
from events.receivers import all_queues


class Command(BaseCommand):
    """Start one cluster per queue, watch them and sweep, until SIGTERM."""

    help = "Runs the background receivers: one cluster of workers per queue, watched and swept."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("queues", nargs="*", metavar="QUEUE", help="default: every queue")
        parser.add_argument(
            "--grace",
            type=float,
            default=30.0,
            metavar="SECONDS",
            help="how long running work may take to finish after SIGTERM (default: 30)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check the queue names and run."""
        queues = options["queues"] or all_queues()
        unknown = sorted(set(queues) - set(all_queues()))
        if unknown:
            raise CommandError(
                f"No receiver uses the queue {', '.join(unknown)}. "
                f"There are: {', '.join(all_queues())}.",
                returncode=USAGE_ERROR,
            )
        Supervisor(queues, grace_s=options["grace"]).run()
