"""Serve the queues: `manage.py worker [QUEUE …]`."""

from http.server import HTTPServer
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.delivery import liveness
from events.delivery.supervisor import Supervisor
from events.management.usage import USAGE_ERROR, positive
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

        parser.add_argument(
            "--liveness-port",
            type=positive,
            metavar="PORT",
            help="answer GET requests there: 200 while alive, 503 and what is stuck otherwise",
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
        port = options["liveness_port"]
        server = _listen(port) if port else None
        if not settings.IS_WORKER:
            raise CommandError(
                "A worker needs database connections of its kind. Start it as `manage.py worker`, "
                "or with USHER_WORKER=on."
            )
        Supervisor(queues, grace_s=options["grace"], liveness_server=server).run()


def _listen(port: int) -> HTTPServer:
    try:
        return liveness.listen(port)
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Port {port} can't be opened: {error}.", returncode=USAGE_ERROR
        ) from None
