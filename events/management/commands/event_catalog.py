"""Tell who publishes what, and who reacts: `manage.py event_catalog --format mermaid`."""

import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.operations.asyncapi import asyncapi_of, json_of
from events.operations.catalog import Catalogue, catalogue
from events.operations.catalog_pages import markdown_of, mermaid_of, text_of


def _as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


FORMATS: dict[str, Callable[[Catalogue], str]] = {
    "text": text_of,
    "mermaid": mermaid_of,
    "asyncapi": lambda catalogue: _as_text(asyncapi_of(catalogue)),
    "json": lambda catalogue: _as_text(json_of(catalogue)),
    "markdown": markdown_of,
}


class Command(BaseCommand):
    """Print the catalogue."""

    help = "Prints which events there are, who publishes them and who reacts, from the code."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--format", choices=list(FORMATS), default="text", help="default: text")
        parser.add_argument(
            "--json", action="store_const", const="json", dest="format", help="--format json"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        self.stdout.write(FORMATS[options["format"]](catalogue()))
