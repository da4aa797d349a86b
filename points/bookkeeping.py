"""Writing entries: under the account's lock, numbered, with the balance they leave."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from points.ledger import Entry, EntryKind, PointsAccount

_SUMS = ["balance", "pending", "lifetime_earned", "version"]


def lock_accounts(user_ids: Collection[UUID]) -> dict[UUID, PointsAccount]:
    """Return the accounts of these users, made where missing, locked in order of id.

    Everybody who needs several locks them through here in one call, so that nobody deadlocks.
    """
    ordered = sorted(user_ids)
    PointsAccount.objects.bulk_create(
        (PointsAccount(user_id=user_id) for user_id in ordered), ignore_conflicts=True
    )
    # No-key locks: a row that refers to an account need not wait for its balance.
    locked = PointsAccount.objects.select_for_update(no_key=True).filter(pk__in=ordered)
    return {account.pk: account for account in locked.order_by("pk")}


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


def write(entries: Iterable[Entry], accounts: Collection[PointsAccount]) -> list[Entry]:
    """Save new entries and the sums of the accounts they changed: two queries.

    Two writers who both thought they had the account's lock would give their entries the same
    number, which the database refuses: no update can get lost.
    """
    written = Entry.objects.bulk_create(entries)
    # An upsert of rows that are all there. With bulk_update(), whose SQL is slow to build, a batch
    # of 50 takes more than twice as long, and on SQLite everybody waits for it.
    PointsAccount.objects.bulk_create(
        accounts, update_conflicts=True, unique_fields=["user"], update_fields=_SUMS
    )
    return written
