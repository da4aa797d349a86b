"""What must always hold, and a look whether it does. Apps register their own invariants.

A check is a function that yields breaches. It asks the database about all rows at once, in
statements that are each consistent by themselves, so that it may run beside live traffic.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, QuerySet

from events.models import Delivery
from events.operations.checksum import TableSum, checksum_of, table_sums
from events.operations.history import HistoryLine

MAX_EXAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One way in which an invariant does not hold."""

    what: str  # what is wrong, in a sentence
    ids: tuple[str, ...]  # of what is wrong: at most MAX_EXAMPLES
    total: int  # how many there are
    hint: str  # what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a look goes by."""

    at_rest: bool = False  # nothing is being worked at, so nothing may be left to do
    history: Sequence[HistoryLine] | None = None  # what a client was told


Check = Callable[[Circumstances], Iterable[Breach]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """Something that must hold, and the checks that look whether it does."""

    id: str
    titles: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    needs_history: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look at one invariant found."""

    id: str
    title: str
    checked: bool
    breaches: tuple[Breach, ...]

    @property
    def total(self) -> int:
        """How many breaches there are, those without an example included."""
        return sum(breach.total for breach in self.breaches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a look at everything found."""

    findings: tuple[Finding, ...]
    deliveries: dict[str, int]  # how many there are, by state
    effects: dict[str, TableSum]  # by the models' names
    checksum: str  # of all effects

    @property
    def ok(self) -> bool:
        """Whether everything that was checked holds."""
        return not any(finding.breaches for finding in self.findings)


_invariants: dict[str, Invariant] = {}


def invariant(id: str, title: str, *, needs_history: bool = False) -> Callable[[Check], Check]:
    """Register the decorated function as a check of an invariant. Several may share an id."""

    def register(check: Check) -> Check:
        known = _invariants.setdefault(id, Invariant(id=id, needs_history=needs_history))
        known.titles.append(title)
        known.checks.append(check)
        return check

    return register


def check_all(circumstances: Circumstances) -> Report:
    """Look at every invariant, count the deliveries, and sum up the effects."""
    findings = tuple(_look_at(i, circumstances) for i in sorted(_invariants.values(), key=_number))
    effects = table_sums()
    return Report(
        findings=findings,
        deliveries=_deliveries_by_state(),
        effects=effects,
        checksum=checksum_of(effects),
    )


def breaches_in(
    rows: QuerySet[Any], *, what: str, hint: str, id_field: str = "pk"
) -> Iterator[Breach]:
    """Yield one breach where the query finds rows. One statement; two where there are many."""
    found = list(rows.order_by().values_list(id_field, flat=True)[: MAX_EXAMPLES + 1])
    if found:
        total = len(found) if len(found) <= MAX_EXAMPLES else rows.order_by().count()
        ids = tuple(str(row_id) for row_id in found[:MAX_EXAMPLES])
        yield Breach(what=what, ids=ids, total=total, hint=hint)


def breach_of(ids: Sequence[object], *, what: str, hint: str) -> Iterator[Breach]:
    """Yield one breach where there are ids."""
    if ids:
        examples = tuple(str(row_id) for row_id in ids[:MAX_EXAMPLES])
        yield Breach(what=what, ids=examples, total=len(ids), hint=hint)


def _number(known: Invariant) -> int:
    return int(known.id.removeprefix("I"))


def _look_at(known: Invariant, circumstances: Circumstances) -> Finding:
    checked = circumstances.history is not None or not known.needs_history
    breaches = [b for check in known.checks if checked for b in check(circumstances)]
    return Finding(
        id=known.id, title="; ".join(known.titles), checked=checked, breaches=tuple(breaches)
    )


def _deliveries_by_state() -> dict[str, int]:
    counts = Delivery.objects.order_by().values_list("state").annotate(Count("pk"))
    return dict(sorted(counts))
