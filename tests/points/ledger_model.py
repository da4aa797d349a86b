"""The ledger as simple as it can be said, to be compared with the real one."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True, eq=False)
class Lot:
    """What is left of a credit."""

    number: int
    amount: int
    expires_at: datetime | None
    remaining: int
    lapsed: int = 0
    is_reversed: bool = False
    owes: int = 0  # what its reversal found nowhere
    took: list[tuple["Lot", int]] = field(default_factory=list)  # what its reversal found elsewhere


@dataclass(slots=True)
class Spending:
    """What an order took, and from which lots."""

    amount: int
    taken: list[tuple[Lot, int]]
    is_undone: bool = False


@dataclass(slots=True)
class Ledger:
    """One account."""

    balance: int = 0
    lots: list[Lot] = field(default_factory=list)
    earned: list[Lot] = field(default_factory=list)
    orders: dict[str, Spending] = field(default_factory=dict)
    reversed: list[Lot] = field(default_factory=list)

    def credit(self, amount: int, expires_at: datetime | None, *, earned: bool) -> None:
        """Add points."""
        lot = Lot(len(self.lots), amount, expires_at, remaining=amount)
        self.lots.append(lot)
        if earned:
            self.earned.append(lot)
        self.balance += amount
        self._repay()

    def spend(self, amount: int, order: str, now: datetime) -> bool:
        """Take points for an order, where they are there; tell whether it is paid."""
        if paid := self.orders.get(order):
            return paid.amount == amount and not paid.is_undone
        if not self.can_take(amount, now):
            return False
        self.orders[order] = Spending(amount, self._take(amount))
        return True

    def can_take(self, amount: int, now: datetime) -> bool:
        """Tell whether so many points have not lapsed. Nothing changes where they have not."""
        lapsed = sum(lot.remaining for lot in self.lots if _has_lapsed(lot, now))
        if self.balance - lapsed < amount:
            return False
        self.expire(now)
        return True

    def undo(self, order: str) -> None:
        """Put back what an order took, once."""
        spending = self.orders[order]
        if spending.is_undone:
            return
        spending.is_undone = True
        for lot, part in spending.taken:
            _put_back(lot, part)
        self.balance += spending.amount
        self._repay()

    def reverse(self, lot: Lot, now: datetime) -> None:
        """Take an earning back, once, but for what has lapsed of it."""
        if lot.is_reversed:
            return
        lot.is_reversed = True
        self.expire(now)
        amount = lot.amount - lot.lapsed
        own = min(lot.remaining, amount)
        lot.remaining -= own
        self.balance -= amount
        lot.owes = amount - own
        self.reversed.append(lot)
        self._repay()

    def take_off(self, amount: int, now: datetime) -> bool:
        """Adjust downwards, where the points are there."""
        if not self.can_take(amount, now):
            return False
        self._take(amount)
        return True

    def expire(self, now: datetime) -> None:
        """Empty the lots that have lapsed."""
        for lot in self.lots:
            if _has_lapsed(lot, now):
                self.balance -= lot.remaining
                lot.lapsed += lot.remaining
                lot.remaining = 0

    def _take(self, amount: int) -> list[tuple[Lot, int]]:
        self.balance -= amount
        return self._draw(amount)

    def _repay(self) -> None:
        for lot in self.reversed:
            found = self._draw(lot.owes)
            lot.owes -= sum(part for _, part in found)
            lot.took += found

    def _draw(self, amount: int) -> list[tuple[Lot, int]]:
        taken = []
        for lot in sorted(self.lots, key=_order):
            part = min(lot.remaining, amount)
            lot.remaining -= part
            amount -= part
            if part:
                taken.append((lot, part))
        return taken


def _put_back(lot: Lot, amount: int) -> None:
    """Put points where they belong: not into a lot that is void, but where its reversal took."""
    if not lot.is_reversed:
        lot.remaining += amount
        return
    for _ in range(amount):
        if lot.owes:
            lot.owes -= 1
        else:
            _put_back(_last_taken(lot), 1)


def _last_taken(lot: Lot) -> Lot:
    """Return the lot that lapses last of those a reversal took from, and count one point less."""
    other, part = max(lot.took, key=lambda taken: _order(taken[0]))
    lot.took.remove((other, part))
    if part > 1:
        lot.took.append((other, part - 1))
    return other


def _order(lot: Lot) -> tuple[bool, float, int]:
    at = lot.expires_at
    return (at is None, at.timestamp() if at else 0.0, lot.number)


def _has_lapsed(lot: Lot, now: datetime) -> bool:
    return lot.expires_at is not None and lot.expires_at <= now
