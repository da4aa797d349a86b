"""Write all campaigns to a CSV file: `manage.py export_campaigns campaigns.csv`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from coupons.campaign_file import every_campaign, written
from events.management.telling import write_json
from events.management.usage import USAGE_ERROR


class Command(BaseCommand):
    """Write them, and say how many."""

    help = (
        "Writes all campaigns to a CSV file (UTF-8) that a spreadsheet opens safely and "
        "`import_campaigns` reads. A file that is there already is not written over."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path, metavar="FILE.csv", help="- is stdout")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run. Raises CommandError (2) where the file is there already, or can't be written."""
        path = options["file"]
        if str(path) == "-":
            return self._print(options)
        try:
            with path.open("x", encoding="utf-8", newline="") as file:
                count = sum(1 for _ in map(file.write, written(every_campaign()))) - 1
        except OSError as error:
            raise CommandError(
                f"{path} cannot be written: {error.strerror}.", returncode=USAGE_ERROR
            ) from None
        if options["json"]:
            return write_json(self.stdout, {"file": str(path), "campaigns": count})
        return self.stdout.write(f"{count} campaigns are in {path}.")

    def _print(self, options: dict[str, Any]) -> None:
        if options["json"]:
            raise CommandError("--json needs a file to write to.", returncode=USAGE_ERROR)
        for part in written(every_campaign()):
            self.stdout.write(part, ending="")
