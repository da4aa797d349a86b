"""Spending points for an order, and undoing that."""

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.queries import accounts_by_id
from points import refusals
from points.bookkeeping import (
    catch_up,
    lock_account,
    new_entry,
    read_lots,
    write,
    write_debit,
)
from points.expiry import expire_lapsed
from points.ledger import Entry, EntryKind, PointsAccount
from points.lots import Lots
from points.signals import (
    PointsSpendRolledBack,
    PointsSpent,
    points_spend_rolled_back,
    points_spent,
)

MAX_ORDER_REF_LENGTH = 100


def spend(*, user_id: UUID, amount: int, order_ref: str, actor_id: UUID | None) -> Entry:
    """Take points for an order and return the entry; the same call again returns the same one.

    `amount` is in points. An order is paid once, by one person: `order_ref` is unique among all.
    What has lapsed is expired first, so that it can not be spent however late the expiry run is.
    Raises a `refusals.Refused`: BadAmount, MissingOrder, UnknownUser, OrderConflict, OrderUndone,
    AccountClosed, AccountFrozen or InsufficientPoints.
    """
    _refuse_nonsense(amount, order_ref)
    if user_id not in accounts_by_id([user_id]):
        raise refusals.UnknownUser
    try:
        with transaction.atomic():
            return _spend(lock_account(user_id), amount, order_ref, actor_id)
    except IntegrityError:
        # Somebody else paid this order meanwhile, under another account's lock.
        if not Entry.objects.filter(idempotency_key=_key(order_ref)).exists():
            raise
        raise refusals.OrderConflict from None


def roll_back_spend(*, entry_id: UUID, actor_id: UUID | None) -> Entry:
    """Undo a spending and return the entry that does; a second call returns the same one.

    The points go back into the lots they came from, each with its own expiry: those that have
    lapsed meanwhile lapse at the next expiry run. Frozen and closed accounts get theirs back too.
    Raises refusals.UnknownEntry and refusals.NotASpending.
    """
    spending = Entry.objects.filter(pk=entry_id).first()
    if spending is None:
        raise refusals.UnknownEntry
    if spending.kind != EntryKind.SPEND:
        raise refusals.NotASpending
    lots = read_lots(spending.account_id)  # before the lock: a long history takes a while
    with transaction.atomic():
        account = lock_account(spending.account_id)
        undone = Entry.objects.filter(reverses=spending).first()
        return undone or _roll_back(account, spending, lots, actor_id)


def _refuse_nonsense(amount: int, order_ref: str) -> None:
    if not 1 <= amount <= refusals.MAX_AMOUNT:
        raise refusals.BadAmount
    if not order_ref.strip() or len(order_ref) > MAX_ORDER_REF_LENGTH:
        raise refusals.MissingOrder


def _key(order_ref: str) -> str:
    return f"spend:{order_ref}"


def _spend(account: PointsAccount, amount: int, order_ref: str, actor_id: UUID | None) -> Entry:
    if earlier := Entry.objects.filter(idempotency_key=_key(order_ref)).first():
        return _same(earlier, account, amount)
    _refuse_by_state(account)
    now = timezone.now()
    expire_lapsed([account], now)
    entry = _entry(account, amount, order_ref, actor_id, now)
    if not write_debit(entry, account, frozen_at=None, closed_at=None):
        raise refusals.InsufficientPoints
    points_spent.publish(
        PointsSpent(entry_id=entry.pk, user_id=account.pk, amount=amount, order_ref=order_ref)
    )
    return entry


def _entry(
    account: PointsAccount, amount: int, order_ref: str, actor_id: UUID | None, now: datetime
) -> Entry:
    return new_entry(
        account,
        EntryKind.SPEND,
        -amount,
        idempotency_key=_key(order_ref),
        reason=order_ref,
        actor_id=actor_id,
        occurred_at=now,
    )


def _same(earlier: Entry, account: PointsAccount, amount: int) -> Entry:
    """Return what was spent for the order, where it is what is asked for."""
    if earlier.account_id != account.pk or earlier.amount != -amount:
        raise refusals.OrderConflict
    if Entry.objects.filter(reverses=earlier).exists():
        raise refusals.OrderUndone
    return earlier


def _refuse_by_state(account: PointsAccount) -> None:
    # Read under the lock: the event by which points hears of it may still be on its way.
    status = accounts_by_id([account.pk])[account.pk].status
    if account.closed_at or status == "closed":
        raise refusals.AccountClosed
    if account.frozen_at or status == "flagged":
        raise refusals.AccountFrozen


def _roll_back(account: PointsAccount, spending: Entry, lots: Lots, actor_id: UUID | None) -> Entry:
    entry = new_entry(
        account,
        EntryKind.SPEND_ROLLBACK,
        -spending.amount,
        idempotency_key=f"rollback:{spending.pk}",
        reverses=spending,
        reason=spending.reason,
        actor_id=actor_id,
    )
    write([entry], [account])
    catch_up(lots, account)
    points_spend_rolled_back.publish(
        PointsSpendRolledBack(
            entry_id=entry.pk,
            user_id=account.pk,
            amount=entry.amount,
            order_ref=spending.reason,
            spend_entry_id=spending.pk,
        )
    )
    return entry
