"""Find events whose effect is missing or doubled: `manage.py reconcile --repair`."""

import json
import sys
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.management.choosing import refuse_unknown_receiver
from events.management.telling import counted
from events.management.usage import USAGE_ERROR, grace, moment
from events.operations.reconcile import GRACE, Finding, Scope, findings, in_flight
from events.receivers import get_receiver


class Command(BaseCommand):
    """Print the findings as they come, repair what a redelivery mends, and sum up."""

    help = (
        "Finds events whose effect is missing, doubled or torn apart, deliveries that are dead or "
        "overdue, and figures that do not add up. Exits with 1 where something is left to do."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--receiver", metavar="NAME", help="this one only")
        parser.add_argument("--since", type=moment, metavar="TIME", help="events from this time")
        parser.add_argument(
            "--grace",
            type=grace,
            default=GRACE,
            metavar="AGE",
            help="let younger events be: seconds, or 90s, 10m, 2h; default: 10m",
        )
        parser.add_argument(
            "--repair", action="store_true", help="deliver once more what that mends"
        )
        parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run. Raises CommandError where a name is unknown, and where it is interrupted."""
        scope = _scope_of(options)
        repair = options["repair"] and not options["dry_run"]
        tally: Tally[str] = Tally()
        with counted(self.stderr) as counter:
            found = _tallied(findings(scope, repair=repair, progress=counter), tally)
            (self._write_json if options["json"] else self._write)(found, tally, scope, repair)
        if tally["left"]:
            sys.exit(1)

    def _write(
        self, found: Iterable[Finding], tally: Tally[str], scope: Scope, repair: bool
    ) -> None:
        for finding in found:
            self.stdout.write("\n".join(_lines(finding, repair)))
        self.stdout.write(_summary(tally, in_flight(scope)))

    def _write_json(
        self, found: Iterable[Finding], tally: Tally[str], scope: Scope, repair: bool
    ) -> None:
        """Write one document, finding by finding: there may be more than memory holds."""
        self.stdout.write('{"findings": [', ending="")
        try:
            for number, finding in enumerate(found):
                document = json.dumps(asdict(finding), default=str, ensure_ascii=False)
                self.stdout.write(f"{',' if number else ''}\n{document}", ending="")
        except KeyboardInterrupt:
            self._end_json(tally, scope, repair, interrupted=True)
            raise
        self._end_json(tally, scope, repair, interrupted=False)

    def _end_json(
        self, tally: Tally[str], scope: Scope, repair: bool, *, interrupted: bool
    ) -> None:
        counts = {kind: count for kind, count in tally.items() if kind not in _OTHER_TALLIES}
        rest = {
            "ok": not tally["left"] and not interrupted,
            "interrupted": interrupted,
            "repair": repair,
            "counts": counts,
            "repairable": tally["repairable"],
            "repaired": tally["repaired"],
            "in_flight": in_flight(scope),
        }
        self.stdout.write(f"],\n{json.dumps(rest)[1:]}")


_OTHER_TALLIES = ("left", "repairable", "repaired")


def _scope_of(options: dict[str, Any]) -> Scope:
    receiver = None
    if name := options["receiver"]:
        refuse_unknown_receiver(name)
        try:
            receiver = get_receiver(name)
        except KeyError:
            raise CommandError(
                f"This release has no receiver {name!r} to ask.", returncode=USAGE_ERROR
            ) from None
    return Scope(receiver=receiver, since=options["since"], grace=options["grace"])


def _tallied(found: Iterable[Finding], tally: Tally[str]) -> Iterator[Finding]:
    for finding in found:
        tally[finding.kind.value] += finding.total
        tally["repairable"] += finding.is_repairable
        tally["repaired" if finding.is_repaired else "left"] += finding.total
        yield finding


def _lines(finding: Finding, repair: bool) -> Iterator[str]:
    about = f"  event {finding.event_id}  key {finding.key}" if finding.event_id else ""
    yield f"{finding.audit}  {finding.kind.upper()}{about}"
    yield f"    {finding.what}"
    if finding.ids:
        more = ", …" if finding.total > len(finding.ids) else ""
        yield f"    {', '.join(finding.ids)}{more}"
    yield f"    → {_action(finding, repair)}"


def _action(finding: Finding, repair: bool) -> str:
    if finding.is_repaired:
        return f"repaired: {finding.do}; it is due now"
    if not finding.is_repairable:
        return finding.do
    if repair:
        return "let be: somebody else saw to it meanwhile"
    return f"--repair would {finding.do}"


def _summary(tally: Tally[str], on_their_way: int) -> str:
    kinds = {kind: count for kind, count in tally.items() if kind not in _OTHER_TALLIES}
    aside = f" {on_their_way} deliveries are on their way." if on_their_way else ""
    if not kinds:
        return f"Nothing is missing, doubled or dead.{aside}"
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    repaired = f" {tally['repaired']} repaired." if tally["repaired"] else ""
    mends = tally["repairable"] - tally["repaired"]
    offer = f" `manage.py reconcile --repair` mends {mends}." if mends else ""
    return f"Found {counts}.{repaired}{offer}{aside}"
