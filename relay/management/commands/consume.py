"""Bring events of other systems in: `manage.py consume URL`."""

import os
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.stopping import asked_to_stop
from events.management.telling import counted, write_json
from events.management.usage import USAGE_ERROR, positive
from relay.consuming import Reading, Tally, consume
from relay.source import SourceRefused, without_password
from relay.transport import BadURL

PASSWORD = "CONSUME_PASSWORD"  # noqa: S105  the name of a variable
DRY_RUN_IDLE_S = 2


class Command(BaseCommand):
    """Take messages from a queue of RabbitMQ or a topic of Kafka, until SIGTERM."""

    help = (
        "Takes events of other systems from amqp://host/vhost?queue=NAME or "
        "kafka://host?topic=NAME&group=NAME, each once. What can't be taken is parked, and listed "
        "in the admin. Exit code 1: something was parked, or the broker refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "url",
            metavar="URL",
            help=f"where to read; its password may be in the environment's {PASSWORD} instead",
        )
        parser.add_argument(
            "--until-idle",
            type=positive,
            metavar="SECONDS",
            help="stop when nothing has come for so long (default: go on until SIGTERM)",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="look at what is there, and leave it: take, park and acknowledge nothing",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        idle_s = options["until_idle"] or (DRY_RUN_IDLE_S if options["dry_run"] else None)
        try:
            with asked_to_stop() as stop, counted(self.stderr) as counter:
                reading = Reading(
                    url=with_password(options["url"]),
                    stop=stop,
                    idle_s=idle_s,
                    dry_run=options["dry_run"],
                    progress=counter,
                )
                tally = consume(reading)
        except BadURL as error:
            raise CommandError(str(error), returncode=USAGE_ERROR) from None
        except SourceRefused as error:
            raise CommandError(f"{without_password(options['url'])}: {error}") from None
        self._tell(tally, options)
        if tally.parked:
            raise CommandError(
                f"{tally.parked} could not be taken. They are kept as parked messages in the admin."
                if not options["dry_run"]
                else f"{tally.parked} could not be taken, and would be parked."
            )

    def _tell(self, tally: Tally, options: dict[str, Any]) -> None:
        if options["json"]:
            shown = {"dry_run": options["dry_run"], "source": without_password(options["url"])}
            return write_json(self.stdout, {**shown, **asdict(tally)})
        would = "would be " if options["dry_run"] else ""
        more = (
            f" {tally.not_looked_at} more are there that were not looked at: the broker hands out "
            "no more before these are acknowledged."
            if tally.not_looked_at
            else ""
        )
        return self.stdout.write(
            f"{tally.applied} events {would}applied, {tally.repeated} were applied before, "
            f"{tally.parked} {would}parked.{more}"
        )


def with_password(text: str) -> str:
    """Return a URL with the password that the environment has for it."""
    password = os.environ.get(PASSWORD)
    try:
        url = urlsplit(text)
    except ValueError:
        return text  # and told to be no URL, where it is read
    if not password or url.password:
        return text
    user, _, place = url.netloc.rpartition("@")
    return url._replace(netloc=f"{user}:{quote(password, safe='')}@{place}").geturl()
