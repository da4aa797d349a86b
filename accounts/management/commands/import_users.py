"""Register people from a CSV file: `manage.py import_users people.csv`."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation

from accounts.import_file import COLUMNS, ImportFile, Line, UnreadableFile
from accounts.importing import RowOutcome, Rules, import_lines
from accounts.management.results import Report, free_names, open_results
from events.management.stopping import asked_to_stop
from events.management.telling import counted, write_json
from events.management.usage import USAGE_ERROR


class Command(BaseCommand):
    """Import, write what came of each line beside the file, and sum up."""

    help = (
        "Registers people from a CSV file (UTF-8; the first line names the columns "
        f"{', '.join(COLUMNS)}, of which only email is needed). Repeatable: who has an account "
        "is left alone. What came of each line is written to a file of its own."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path, metavar="FILE.csv")
        parser.add_argument(
            "--results",
            type=Path,
            metavar="PATH",
            help="default: FILE.results.csv beside FILE.csv, and none with --dry-run",
        )
        parser.add_argument(
            "--confirmed",
            action="store_true",
            help="the addresses were confirmed elsewhere: nobody is asked to do it again",
        )
        parser.add_argument(
            "--lenient",
            action="store_true",
            help="register also with a throw-away address, or a referral code that does not count",
        )
        parser.add_argument(
            "--language",
            choices=[code for code, _name in settings.LANGUAGES],
            default=settings.LANGUAGE_CODE,
            help="of the reasons in the results",
        )
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run. Raises CommandError: 1 where lines are refused or left, 2 where it is misused."""
        rules = Rules(
            lenient=options["lenient"], confirmed=options["confirmed"], dry_run=options["dry_run"]
        )
        with (
            _opened(options["file"]) as lines,
            _results(options) as results,
            translation.override(options["language"]),
        ):
            report = Report(results)
            is_interrupted = self._import(lines, rules, report)
        if options["json"]:
            about = {"dry_run": options["dry_run"], "file": str(options["file"])}
            write_json(self.stdout, about | report.document() | {"interrupted": is_interrupted})
        else:
            self.stdout.write("\n".join(report.lines(dry_run=options["dry_run"])))
        _judge(report, is_interrupted)

    def _import(self, lines: Iterable[Line], rules: Rules, report: Report) -> bool:
        """Tell whether lines are left because somebody asked to stop."""
        with asked_to_stop() as asked, counted(self.stderr) as counter:
            wanted = _Wanted(lines, asked.is_set)
            for batch in import_lines(wanted, rules):
                report.add(batch)
                counter(len(batch))
        return wanted.is_cut_short


class _Wanted:
    """The lines before somebody asks to stop."""

    def __init__(self, lines: Iterable[Line], is_asked: Callable[[], bool]) -> None:
        self.is_cut_short = False
        self._lines = lines
        self._is_asked = is_asked

    def __iter__(self) -> Iterator[Line]:
        for line in self._lines:
            if self._is_asked():
                self.is_cut_short = True
                return
            yield line


def _opened(path: Path) -> ImportFile:
    try:
        return ImportFile(path)
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror}.", returncode=USAGE_ERROR
        ) from None
    except UnreadableFile as error:
        raise CommandError(f"{path}: {error}", returncode=USAGE_ERROR) from None


def _results(options: dict[str, Any]) -> AbstractContextManager[IO[str] | None]:
    """Open the results: where it was said, or beside the file. A plan has none unless asked."""
    if options["results"]:
        return open_results([options["results"]])
    return nullcontext() if options["dry_run"] else open_results(free_names(options["file"]))


def _judge(report: Report, is_interrupted: bool) -> None:
    if is_interrupted:
        raise CommandError(
            f"Interrupted after {report.total} lines. What is done stays; call it again for the "
            "rest."
        )
    if refused := report.count(RowOutcome.REFUSED):
        raise CommandError(
            f"{refused} lines are refused. Correct them and import the file again: who has an "
            "account is left alone."
        )
