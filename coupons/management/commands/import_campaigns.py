"""Bring campaigns in from a CSV file: `manage.py import_campaigns campaigns.csv --by EMAIL`."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation

from coupons.campaign_file import MAX_BYTES, Line, UnreadableFile, read
from coupons.importing import carry_out
from coupons.planning import Fate, Plan, Problem, plan
from events.management.telling import write_json
from events.management.usage import USAGE_ERROR


class Command(BaseCommand):
    """Plan the whole file; carry it out where nothing is wrong with it; sum up."""

    help = (
        "Makes and changes campaigns as a CSV file says, all of it or nothing. New ones are "
        "drafts. Repeatable: what is so already is left alone. `export_campaigns` makes such files."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path, metavar="FILE.csv")
        parser.add_argument(
            "--by", metavar="EMAIL", help="the member of staff whose doing it is; kept on record"
        )
        parser.add_argument(
            "--language",
            choices=[code for code, _name in settings.LANGUAGES],
            default=settings.LANGUAGE_CODE,
            help="of the reasons",
        )
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run. Raises CommandError: 1 where a line can't be taken, 2 where it is misused."""
        with translation.override(options["language"]):
            lines = _lines(options["file"])
            if options["dry_run"]:
                found = plan(lines)
            else:
                found = carry_out(lines, by=_member_of_staff(options["by"]))
        if options["json"]:
            write_json(self.stdout, _document(found, options))
        else:
            self.stdout.write("\n".join(_told(found, dry_run=options["dry_run"])))
        if found.problems:
            raise CommandError("Nothing was written. Correct the file and import it again.")


def _lines(path: Path) -> list[Line]:
    try:
        with path.open("rb") as file:
            return read(file.read(MAX_BYTES + 1))
    except OSError as error:
        sentence = f"{path} cannot be read: {error.strerror}."
    except UnreadableFile as error:
        sentence = f"{path}: {error}"
    raise CommandError(sentence, returncode=USAGE_ERROR)


def _member_of_staff(email: str | None) -> Any:
    if not email:
        raise CommandError("Say whose doing it is: --by EMAIL.", returncode=USAGE_ERROR)
    staff = get_user_model().objects.filter(email=email.lower(), is_staff=True, is_active=True)
    user = staff.first()
    if user is None or not user.has_perms(["coupons.add_campaign", "coupons.change_campaign"]):
        raise CommandError(
            f"{email} is nobody who may make and change campaigns.", returncode=USAGE_ERROR
        )
    return user


def _document(found: Plan, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "dry_run": options["dry_run"],
        "file": str(options["file"]),
        **{fate.value: found.count(fate) for fate in Fate},
        "campaigns": [
            {"line": r.line, "id": r.campaign.pk, "fate": r.fate, "changed": r.changed}
            | {"changes": [asdict(each) for each in r.changes]}
            for r in found.rows
        ],
        "problems": [asdict(problem) for problem in found.problems],
    }


def _told(found: Plan, *, dry_run: bool) -> Iterator[str]:
    yield from map(_of_problem, found.problems)
    for row in found.rows:
        if row.fate != Fate.UNCHANGED:
            changes = row.changes if row.fate == Fate.CHANGED else ()
            told = (f"{each.column} {each.old!r} → {each.new!r}" for each in changes)
            yield f"line {row.line}: {row.campaign}: {', '.join([row.fate, *told])}"
    counts = ", ".join(f"{found.count(fate)} {fate}" for fate in Fate)
    yield f"{counts}, {len(found.problems)} problems."
    if dry_run:
        yield "Nothing was written."


def _of_problem(problem: Problem) -> str:
    column = f"{problem.column}: " if problem.column else ""
    return f"line {problem.line}: {column}{problem.sentence}"
