"""Tell the story of a user or an event: `manage.py explain --user mei@example.com`."""

import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation

from events.management.usage import USAGE_ERROR, event_id
from events.operations.explain import story_of_event, story_of_user
from events.operations.narrate import lines_of, story_document
from events.operations.story import Story, UnknownSubject
from events.operations.verdict import verdict_on


class Command(BaseCommand):
    """Find the story, print it, and end with what is late and what to do."""

    help = "What happened to a user or an event, in order; what is late, why, and what to do."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        subject = parser.add_mutually_exclusive_group(required=True)
        subject.add_argument("--user", metavar="EMAIL")
        subject.add_argument("--event", type=event_id, metavar="ID")
        languages = [code for code, _name in settings.LANGUAGES]
        parser.add_argument(
            "--language",
            choices=languages,
            default=settings.LANGUAGE_CODE,
            help="of what is told (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        with translation.override(options["language"]):
            self._tell(options)

    def _tell(self, options: dict[str, Any]) -> None:
        story = _find(options)
        verdict = verdict_on(story)
        if options["json"]:
            document = story_document(story) | {"verdict": asdict(verdict)}
            self.stdout.write(json.dumps(document, indent=2))
        else:
            self.stdout.write("\n".join(lines_of(story, verdict)))


def _find(options: dict[str, Any]) -> Story:
    try:
        if options["user"] is not None:
            return story_of_user(options["user"])
        return story_of_event(options["event"])
    except UnknownSubject as error:
        raise CommandError(str(error), returncode=USAGE_ERROR) from None
