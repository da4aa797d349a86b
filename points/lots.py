"""What is left of each credit: a pure replay of an account's entries.

Every credit is a lot. Debits take from lots in the order in which these lapse, so that people lose
as little as possible. A reversal takes from the lot it reverses first; what it finds nowhere is the
deficit, and whatever comes next repays it. While there is a deficit all lots are empty, so a
balance is what the lots hold less the deficit. Undoing a spending puts the points back into
the lots they came from, each with its own expiry: those that have lapsed meanwhile lapse at the
next expiry run.

`models.Lot` keeps the outcome of this per credit, so that nobody replays a ledger to spend.
"""

from collections.abc import Iterable
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
    """The lots of one account, by the id of the entry that credited each."""

    remaining: dict[UUID, int] = field(default_factory=dict)
    deficit: int = 0
    spent: dict[UUID, dict[UUID, int]] = field(default_factory=dict)  # by spending: lot, points
    _places: dict[UUID, Place] = field(default_factory=dict)
    _queue: list[Place] = field(default_factory=list)  # a heap; may name empty lots, or one twice

    def apply(self, entry: Entry) -> None:
        """Book the next entry of the account."""
        match entry.kind:
            case EntryKind.SPEND_ROLLBACK if entry.reverses_id:
                self._restore(self.spent.get(entry.reverses_id, {}))
            case EntryKind.EXPIRE if entry.lot_id:
                self._take_from(entry.lot_id, -entry.amount)
            case EntryKind.REVERSAL if entry.reverses_id and entry.amount <= 0:
                left = -entry.amount - self._take_from(entry.reverses_id, -entry.amount)
                self._take(left)
            case EntryKind.SPEND:
                self.spent[entry.pk] = self._take(-entry.amount)
            case _ if entry.amount > 0:
                self._places[entry.pk] = place_of(entry)
                self._restore({entry.pk: entry.amount})
            case _:
                self._take(-entry.amount)

    def _restore(self, points: dict[UUID, int]) -> None:
        """Put points into lots, then let them repay the deficit."""
        for lot_id, amount in points.items():
            self.remaining[lot_id] = self.remaining.get(lot_id, 0) + amount
            heappush(self._queue, self._places[lot_id])
        owed, self.deficit = self.deficit, 0
        self._take(owed)

    def _take(self, amount: int) -> dict[UUID, int]:
        """Take points, those that lapse first at first. What is not there is the deficit."""
        taken: dict[UUID, int] = {}
        while amount and self._queue:
            lot_id = self._queue[0][-1]
            if part := self._take_from(lot_id, amount):
                taken[lot_id] = taken.get(lot_id, 0) + part
                amount -= part
            if not self.remaining[lot_id]:
                heappop(self._queue)
        self.deficit += amount
        return taken

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
