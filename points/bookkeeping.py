"""Writing entries: under the account's lock, numbered, with the balance they leave.

Whoever writes an entry books it in the lots too, in the way in which `lots.replay` would.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, Sum

from events.rows import among, insert
from points.ledger import Entry, EntryKind, Lot, PointsAccount
from points.lots import Lots, replay

_SUMS = ("balance", "pending", "lifetime_earned", "version")
_NEW_SUMS = ", ".join(f"{column} = excluded.{column}" for column in _SUMS)
_LOTS_AT_ONCE = 100  # most debits need a few


def lock_accounts(user_ids: Collection[UUID]) -> dict[UUID, PointsAccount]:
    """Return the accounts of these users, made where missing, locked in order of id.

    Everybody who needs several locks them through here in one call, so that nobody deadlocks.
    """
    ordered = sorted(user_ids)
    insert([PointsAccount(user_id=user_id) for user_id in ordered], "ON CONFLICT DO NOTHING")
    # No-key locks: a row that refers to an account need not wait for its balance.
    locked = PointsAccount.objects.select_for_update(no_key=True).filter(among("pk", ordered))
    return {account.pk: account for account in locked.order_by("pk")}


def lock_account(user_id: UUID) -> PointsAccount:
    """Return one account, made where it is missing, locked. For whoever needs only this one."""
    return lock_accounts([user_id])[user_id]


def new_entry(account: PointsAccount, kind: EntryKind, amount: int, **details: Any) -> Entry:
    """Return an unsaved entry and move the locked account's sums along with it."""
    account.version += 1
    account.balance += amount
    if kind == EntryKind.EARN:
        account.lifetime_earned += amount
    return Entry(
        account=account,
        number=account.version,
        kind=kind,
        amount=amount,
        balance_after=account.balance,
        **details,
    )


def write(entries: Sequence[Entry], accounts: Sequence[PointsAccount]) -> None:
    """Save new entries, the lots of those that are credits, and the sums of their accounts.

    Three queries. Two writers who both thought they had the account's lock would give their
    entries the same number, which the database refuses: no update can get lost.
    """
    insert(entries)
    insert([new_lot(entry) for entry in entries if is_credit(entry)])
    # An upsert of rows that are all there. With bulk_update(), whose SQL is slow to build, a batch
    # of 50 takes more than twice as long, and on SQLite everybody waits for it.
    insert(accounts, f"ON CONFLICT (user_id) DO UPDATE SET {_NEW_SUMS}")


def write_debit(entry: Entry, account: PointsAccount, **conditions: Any) -> bool:
    """Save an entry that takes points which must be there, of an account that meets conditions.

    Return False, with nothing written, where the account in the database does not have them.
    """
    changed = PointsAccount.objects.filter(
        pk=account.pk, balance__gte=-entry.amount, version=entry.number - 1, **conditions
    ).update(balance=F("balance") + entry.amount, version=F("version") + 1)
    if not changed:
        return False
    entry.save(force_insert=True)
    take(account, -entry.amount)
    return True


def is_credit(entry: Entry) -> bool:
    """Tell whether an entry is a lot. What undoes a spending fills the lots this took from."""
    return entry.kind == EntryKind.EARN or (entry.kind == EntryKind.ADJUST and entry.amount > 0)


def new_lot(credit: Entry, remaining: int | None = None) -> Lot:
    """Return the unsaved lot of a credit: all of it, but for what repays a deficit."""
    if remaining is None:
        remaining = min(credit.amount, max(0, credit.balance_after))
    return Lot(
        entry_id=credit.pk,
        account_id=credit.account_id,
        expires_at=credit.expires_at,
        occurred_at=credit.occurred_at,
        number=credit.number,
        remaining=remaining,
    )


def open_lots(account: PointsAccount) -> QuerySet[Lot]:
    """Return the lots that hold something, in the order in which they are consumed."""
    lots = Lot.objects.filter(account=account, remaining__gt=0)
    return lots.order_by(F("expires_at").asc(nulls_last=True), "occurred_at", "number", "pk")


def take(account: PointsAccount, amount: int, *, first_from: UUID | None = None) -> None:
    """Take points from the lots of a locked account, at first from one of them, if it is given.

    What the lots do not hold is the account's deficit: its balance says so already.
    """
    lots = open_lots(account)
    changed: list[Lot] = []
    if first_from is not None:
        own = [lot for lot in lots.filter(pk=first_from) if amount]
        amount = _take_from(own, amount, changed)
        lots = lots.exclude(pk=first_from)
    _take_from(lots.iterator(chunk_size=_LOTS_AT_ONCE) if amount else [], amount, changed)
    save_lots(changed)


def _take_from(lots: Iterable[Lot], amount: int, changed: list[Lot]) -> int:
    """Take points, note which lots changed, and return what was not there."""
    for lot in lots:
        part = min(lot.remaining, amount)
        lot.remaining -= part
        amount -= part
        changed.append(lot)
        if not amount:
            break
    return amount


def save_lots(lots: Sequence[Lot]) -> None:
    """Save what remains of lots, made where they are missing: one query."""
    insert(lots, "ON CONFLICT (entry_id) DO UPDATE SET remaining = excluded.remaining")


def mend_lots(accounts: Collection[PointsAccount]) -> None:
    """Refill the lots of those locked accounts that hold other than the balance says.

    A worker of a release that knew no lots may have credited points since these were made. One
    query where all is well, three more for any number of accounts where it is not.
    """
    lots = Lot.objects.filter(account__in=accounts, remaining__gt=0).order_by()
    held = dict(lots.values_list("account").annotate(Sum("remaining")))
    wrong = [a.pk for a in accounts if held.get(a.pk, 0) != max(0, a.balance)]
    if wrong:
        refill_lots(wrong)


def refill_lots(account_ids: Collection[UUID]) -> None:
    """Make the lots of locked accounts what their entries say, from the first to the last."""
    entries = Entry.objects.filter(account__in=account_ids).order_by("account", "number")
    by_account = groupby(entries, lambda entry: entry.account_id)
    _store({account_id: replay(of_one) for account_id, of_one in by_account})


def read_lots(account_id: UUID) -> Lots:
    """Return the lots that an account's entries leave so far.

    It needs no lock, as entries are never changed: `catch_up` books what came since, so that
    nobody waits for the replay of a long history.
    """
    return replay(Entry.objects.filter(account=account_id).order_by("number"))


def catch_up(lots: Lots, account: PointsAccount) -> None:
    """Book in the lots of a locked account what came since they were read, and save them."""
    later = Entry.objects.filter(account=account, number__gt=lots.number).order_by("number")
    for entry in later:
        lots.apply(entry)
    _store({account.pk: lots})


def _store(by_account: Mapping[UUID, Lots]) -> None:
    """Save the lots that differ from what is stored."""
    stored = Lot.objects.filter(account__in=by_account)
    kept = dict(stored.values_list("pk", "remaining"))
    save_lots(
        [
            new_lot(lots.credits[lot_id], remaining)
            for lots in by_account.values()
            for lot_id, remaining in lots.remaining.items()
            if kept.get(lot_id) != remaining
        ]
    )
