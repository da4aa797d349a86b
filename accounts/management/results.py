"""What an import tells: a line in a file for every line it read, and a summary."""

import csv
import os
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError

from accounts.importing import Result, RowOutcome
from events.management.usage import USAGE_ERROR
from spreadsheets import safe_cell

COLUMNS = ("line", "email", "outcome", "code", "reason", "id")
PROBLEMS_SHOWN = 100  # the file has all


class Report:
    """Counts results, and writes them where there is a file to write them to."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file
        self._tally: Tally[str] = Tally()
        self._problems: list[Result] = []
        if file:
            csv.writer(file).writerow(COLUMNS)

    @property
    def total(self) -> int:
        """How many lines came to something."""
        return self._tally.total()

    def count(self, outcome: RowOutcome) -> int:
        """Return how many lines came to this."""
        return self._tally[outcome]

    def add(self, results: Sequence[Result]) -> None:
        """Take note of results. They are in the file when this returns."""
        self._tally.update(result.outcome for result in results)
        told = [result for result in results if result.reason]
        self._problems += told[: PROBLEMS_SHOWN - len(self._problems)]
        if self._file:
            csv.writer(self._file).writerows(map(_cells, results))
            self._file.flush()

    def document(self) -> dict[str, Any]:
        """Return the summary for `--json`. It names no address: that is for the file."""
        return {
            "results": self._file.name if self._file else None,
            "lines": self.total,
            **{outcome.value: self._tally[outcome] for outcome in RowOutcome},
            "problems": [
                {"line": p.line, "outcome": p.outcome, "code": p.code, "reason": p.reason}
                for p in self._problems
            ],
        }

    def lines(self, *, dry_run: bool) -> Iterator[str]:
        """Yield the summary for people."""
        for problem in self._problems:
            yield f"line {problem.line}: {problem.outcome}: {problem.reason}"
        registered = self.count(RowOutcome.REGISTERED) + self.count(RowOutcome.WAITING)
        waiting = f" ({self.count(RowOutcome.WAITING)} wait until their address is confirmed)"
        yield (
            f"{self.total} lines: {registered} {'would be ' if dry_run else ''}registered"
            f"{waiting if self.count(RowOutcome.WAITING) else ''}, "
            f"{self.count(RowOutcome.ALREADY_THERE)} there already, "
            f"{self.count(RowOutcome.REFUSED)} refused."
        )
        if self._file:
            yield f"What came of each line is in {self._file.name}."
        if dry_run:
            yield "Nobody was registered."


def free_names(file: Path) -> Iterator[Path]:
    """Yield names beside a file: people.results.csv, people.results-2.csv, …"""
    yield file.with_name(f"{file.stem}.results.csv")
    for number in count(2):
        yield file.with_name(f"{file.stem}.results-{number}.csv")


def open_results(paths: Iterable[Path]) -> IO[str]:
    """Make a new file under the first of these names that is free: nothing is written over.

    Only its owner may read it. Raises CommandError where there is no such file to be made.
    """
    for path in paths:
        try:
            # The mark at its beginning tells Excel that it is UTF-8.
            return open(path, "x", encoding="utf-8-sig", newline="", opener=_private)
        except FileExistsError:
            continue
        except OSError as error:
            raise CommandError(
                f"{path} cannot be written: {error.strerror}. Name another with --results.",
                returncode=USAGE_ERROR,
            ) from None
    raise CommandError(
        "The result file is there already. Name another with --results.", returncode=USAGE_ERROR
    )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _cells(result: Result) -> list[str]:
    cells = (result.line, result.email, result.outcome, result.code, result.reason, result.user_id)
    return ["" if cell is None else safe_cell(str(cell)) for cell in cells]
