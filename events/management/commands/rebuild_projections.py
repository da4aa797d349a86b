"""Rebuild read models from events: `manage.py rebuild_projections coupons.funnel`."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.telling import counted, write_json
from events.management.usage import USAGE_ERROR
from events.operations.projections import Projection, Rebuilt, all_projections, rebuild


class Command(BaseCommand):
    """Rebuild the projections named, or all, and sum up."""

    help = (
        "Makes read models what the events say, while receivers go on. Repeatable; an interrupted "
        "call is finished by the next."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
        parser.add_argument("--dry-run", action="store_true", help="count, and write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run. Raises CommandError where a name is unknown, and where it is interrupted."""
        chosen, dry_run = _chosen(options["names"]), options["dry_run"]
        with counted(self.stderr) as counter:
            done = {p.name: rebuild(p, dry_run=dry_run, progress=counter) for p in chosen}
        if options["json"]:
            results = {name: asdict(result) for name, result in done.items()}
            return write_json(self.stdout, {"dry_run": dry_run, "projections": results})
        for name, result in done.items():
            self.stdout.write(_line(name, result))
        return self.stdout.write("Nothing was written." if dry_run else "Rebuilt.")


def _chosen(names: list[str]) -> list[Projection]:
    known = {projection.name: projection for projection in all_projections()}
    for name in names:
        if name not in known:
            raise CommandError(
                f"There is no projection {name!r}. There are: {', '.join(known)}.",
                returncode=USAGE_ERROR,
            )
    return [known[name] for name in dict.fromkeys(names or known)]


def _line(name: str, result: Rebuilt) -> str:
    return (
        f"{name}: {result.events} events; rows: {result.added} added, "
        f"{result.corrected} corrected, {result.removed} removed"
    )
