"""What is left of each credit: a pure replay of an account's entries.

Every credit is a lot. Debits take from lots in the order in which these lapse, so that people lose
as little as possible. A reversal takes from the lot it reverses first; what it finds nowhere is the
deficit, and whatever comes next repays it. While there is a deficit all lots are empty, so a
balance is what the lots hold less the deficit. Undoing a spending puts the points back into
the lots they came from, each with its own expiry: those that have lapsed meanwhile lapse at the
next expiry run.

A lot that was reversed stays empty. Where a spending took from it, its reversal had to take as much
from elsewhere: when the spending is undone, the points go to whom the reversal took them from. They
make up its deficit first, then they go back into the lots, those that lapse last at first.

`models.Lot` keeps the outcome of this per credit, so that nobody replays a ledger to spend.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import TypeAlias
from uuid import UUID

from points.ledger import Entry, EntryKind

_NEVER = datetime.max.replace(tzinfo=UTC)

Place: TypeAlias = tuple[datetime, datetime, int, UUID]


def place_of(credit: Entry) -> Place:
    """Return where a credit stands in the order in which lots are consumed."""
    return (credit.expires_at or _NEVER, credit.occurred_at, credit.number, credit.pk)


@dataclass(slots=True)
class Lots:
    """The lots of one account, by the id of the entry that credited each.

    A debit is named by the id of its entry, but a reversal by the lot that it reverses.
    """

    number: int = 0  # of the latest entry that is booked
    remaining: dict[UUID, int] = field(default_factory=dict)
    credits: dict[UUID, Entry] = field(default_factory=dict)
    _taken: dict[UUID, dict[UUID, int]] = field(default_factory=dict)  # by debit: lot, points
    _owed: dict[UUID, int] = field(default_factory=dict)  # by debit, the earliest first
    _reversed: set[UUID] = field(default_factory=set)
    _queue: list[Place] = field(default_factory=list)  # a heap; may name empty lots, or one twice

    @property
    def deficit(self) -> int:
        """Return how many points were taken that no lot held."""
        return sum(self._owed.values())

    def apply(self, entry: Entry) -> None:
        """Book the next entry of the account."""
        self.number = entry.number
        match entry.kind:
            case EntryKind.SPEND_ROLLBACK if entry.reverses_id:
                self._give_back(self._taken.pop(entry.reverses_id, {}))
            case EntryKind.EXPIRE if entry.lot_id:
                self._debit(entry.pk, -entry.amount, first_from=entry.lot_id)
            case EntryKind.REVERSAL if entry.reverses_id and entry.amount <= 0:
                self._reversed.add(entry.reverses_id)
                self._debit(entry.reverses_id, -entry.amount, first_from=entry.reverses_id)
            case _ if entry.amount > 0:
                self.credits[entry.pk] = entry
                self._give_back({entry.pk: entry.amount})
            case _:
                self._debit(entry.pk, -entry.amount)

    def _debit(self, debit: UUID, amount: int, first_from: UUID | None = None) -> None:
        if first_from is not None:
            amount -= self._take_from(first_from, amount)
        self._owed[debit] = amount
        self._collect(debit)

    def _give_back(self, points: Mapping[UUID, int]) -> None:
        """Put points into lots, or where a reversed lot passes them on; then repay the deficit."""
        todo = list(points.items())
        while todo:  # no recursion: reversals may have taken from each other without end
            lot_id, amount = todo.pop()
            if lot_id in self._reversed:
                todo += self._pass_on(lot_id, amount)
            else:
                self.remaining[lot_id] = self.remaining.get(lot_id, 0) + amount
                heappush(self._queue, place_of(self.credits[lot_id]))
        for debit in list(self._owed):
            self._collect(debit)

    def _pass_on(self, lot_id: UUID, amount: int) -> Iterator[tuple[UUID, int]]:
        """Yield which lots get points of a reversed one, once its own deficit is made up."""
        forgiven = min(self._owed.get(lot_id, 0), amount)
        self._owe(lot_id, self._owed.get(lot_id, 0) - forgiven)
        amount -= forgiven
        taken = self._taken.get(lot_id, {})
        for other in sorted(taken, key=lambda pk: place_of(self.credits[pk]), reverse=True):
            if part := min(taken[other], amount):
                taken[other] -= part
                amount -= part
                yield other, part

    def _collect(self, debit: UUID) -> None:
        """Take what a debit owes, from the lots that lapse first at first."""
        owed = self._owed[debit]
        taken = self._taken.setdefault(debit, {})
        while owed and self._queue:
            lot_id = self._queue[0][-1]
            if part := self._take_from(lot_id, owed):
                taken[lot_id] = taken.get(lot_id, 0) + part
                owed -= part
            if not self.remaining[lot_id]:
                heappop(self._queue)
        self._owe(debit, owed)

    def _owe(self, debit: UUID, amount: int) -> None:
        """Note what a debit owes. It keeps its place among the others."""
        self._owed[debit] = amount
        if not amount:
            del self._owed[debit]

    def _take_from(self, lot_id: UUID, amount: int) -> int:
        taken = min(self.remaining.get(lot_id, 0), amount)
        if taken:
            self.remaining[lot_id] -= taken
        return taken


def replay(entries: Iterable[Entry]) -> Lots:
    """Return the lots that an account's entries leave, given all of them in order of number."""
    lots = Lots()
    for entry in entries:
        lots.apply(entry)
    return lots
