"""Look whether everything holds that must: `manage.py check_invariants --history h.jsonl`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.usage import USAGE_ERROR
from events.operations.history import HistoryLine, MalformedHistory, read_history
from events.operations.invariants import Circumstances, Finding, Report, check_all


class Command(BaseCommand):
    """Check, print the findings, and fail where something does not hold."""

    help = "Checks the invariants of events, deliveries and their effects. Changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--history", type=Path, metavar="FILE", help="what a client was told, as JSON lines"
        )
        parser.add_argument(
            "--at-rest", action="store_true", help="nothing may be left to be delivered"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run. Raises CommandError with exit code 1 where something does not hold."""
        history = _read(options["history"]) if options["history"] else None
        report = check_all(Circumstances(at_rest=options["at_rest"], history=history))
        if options["json"]:
            self.stdout.write(json.dumps(_document(report), indent=2))
        else:
            self.stdout.write("\n".join(_lines(report)))
        if not report.ok:
            raise CommandError(_summary(report.findings))


def _read(path: Path) -> list[HistoryLine]:
    try:
        with path.open(encoding="utf-8") as lines:
            return list(read_history(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"The history {path} cannot be read: {error}.", returncode=USAGE_ERROR
        ) from error
    except MalformedHistory as error:
        raise CommandError(f"{path}: {error}", returncode=USAGE_ERROR) from error


def _document(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "invariants": [asdict(f) | {"total": f.total} for f in report.findings],
        "deliveries": report.deliveries,
        "effects": {name: asdict(table) for name, table in report.effects.items()},
        "checksum": report.checksum,
    }


def _lines(report: Report) -> list[str]:
    lines = [line for finding in report.findings for line in _lines_about(finding)]
    states = ", ".join(f"{count} {state}" for state, count in report.deliveries.items())
    rows = ", ".join(f"{table.rows} {name}" for name, table in report.effects.items())
    return [
        *lines,
        f"deliveries: {states or 'none'}",
        f"effects:    {rows}",
        f"checksum:   {report.checksum} (of all effects: a replay leaves it as it is)",
        *([_summary(report.findings)] if report.ok else []),  # else it is the error's text
    ]


def _lines_about(finding: Finding) -> list[str]:
    lines = [f"{finding.id:<4} {_verdict(finding):<12} {finding.title}"]
    for breach in finding.breaches:
        more = ", …" if breach.total > len(breach.ids) else ""
        lines += [
            f"       {breach.total} × {breach.what}: {', '.join(breach.ids)}{more}",
            f"         → {breach.hint}",
        ]
    return lines


def _verdict(finding: Finding) -> str:
    if not finding.checked:
        return "not checked"
    return f"{finding.total} BROKEN" if finding.breaches else "ok"


def _summary(findings: tuple[Finding, ...]) -> str:
    broken = [finding.id for finding in findings if finding.breaches]
    skipped = [finding.id for finding in findings if not finding.checked]
    aside = f" Not checked, for want of --history: {', '.join(skipped)}." if skipped else ""
    if broken:
        return f"{len(broken)} invariants do not hold: {', '.join(broken)}.{aside}"
    return f"{len(findings) - len(skipped)} invariants hold.{aside}"
