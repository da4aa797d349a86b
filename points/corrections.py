"""Taking back what was earned, and adjusting a balance by hand."""

from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from accounts.queries import accounts_by_id
from points import refusals
from points.bookkeeping import lock_account, new_entry, take, write, write_debit
from points.expiry import expire_lapsed
from points.ledger import Entry, EntryKind, PointsAccount
from points.signals import (
    PointsAdjusted,
    PointsReversed,
    points_adjusted,
    points_reversed,
)

MAX_REASON_LENGTH = 200


def reverse(
    *, entry_id: UUID, reason: str, actor_id: UUID | None = None, event_id: UUID | None = None
) -> Entry:
    """Take back what was earned and return the opposite entry; a second call returns the same one.

    Points that were spent are taken all the same: the balance may go below zero, and what comes
    next repays it. Points of it that have lapsed are gone already and not taken again, so that
    the entry may be of 0 points. `reason` is a code or a sentence, `event_id` the event that led
    here. Raises refusals.UnknownEntry and refusals.NotEarned.
    """
    earned = Entry.objects.filter(pk=entry_id).first()
    if earned is None:
        raise refusals.UnknownEntry
    if earned.kind != EntryKind.EARN:
        raise refusals.NotEarned
    with transaction.atomic():
        account = lock_account(earned.account_id)
        reversal = Entry.objects.filter(reverses=earned).first()
        if reversal is None:
            reversal = reverse_of(account, earned, reason, actor_id=actor_id, event_id=event_id)
        return reversal


def adjust(
    *, user_id: UUID, amount: int, reason: str, actor_id: UUID, key: UUID | None = None
) -> Entry:
    """Add points to a balance, or take some off, because a person says so; return the entry.

    Points that are added never lapse. A balance does not go below zero by this, and a closed
    account is left alone. With a `key` a second call returns the same entry.
    Raises refusals.BadAmount, MissingReason, UnknownUser, KeyConflict, AccountClosed and
    InsufficientPoints.
    """
    if not 1 <= abs(amount) <= refusals.MAX_AMOUNT:
        raise refusals.BadAmount
    if not reason.strip() or len(reason) > MAX_REASON_LENGTH:
        raise refusals.MissingReason
    if user_id not in accounts_by_id([user_id]):
        raise refusals.UnknownUser
    try:
        with transaction.atomic():
            account = lock_account(user_id)
            if earlier := _adjustment(key):
                return _same(earlier, account, amount)
            return _adjust(account, amount, reason, actor_id, key)
    except IntegrityError:
        # Somebody else used the key meanwhile, under another account's lock.
        if not _adjustment(key):
            raise
        raise refusals.KeyConflict from None


def reverse_of(
    account: PointsAccount,
    earned: Entry,
    reason: str,
    *,
    actor_id: UUID | None = None,
    event_id: UUID | None = None,
) -> Entry:
    """Reverse an earning that was not reversed yet, of an account that is locked."""
    now = timezone.now()
    expire_lapsed([account], now)
    lapsed = Entry.objects.filter(lot=earned).aggregate(points=Sum("amount"))["points"] or 0
    entry = new_entry(
        account,
        EntryKind.REVERSAL,
        -(earned.amount + lapsed),
        idempotency_key=f"reversal:{earned.pk}",
        reverses=earned,
        reason=reason,
        actor_id=actor_id,
        event_id=event_id,
        occurred_at=now,
    )
    write([entry], [account])
    take(account, -entry.amount, first_from=earned.pk)
    points_reversed.publish(
        PointsReversed(
            entry_id=entry.pk,
            user_id=account.pk,
            amount=-entry.amount,
            earn_entry_id=earned.pk,
            reason=reason,
        )
    )
    return entry


def _adjustment(key: UUID | None) -> Entry | None:
    return Entry.objects.filter(idempotency_key=f"adjust:{key}").first()


def _same(earlier: Entry, account: PointsAccount, amount: int) -> Entry:
    """Return the adjustment of the key, where it is what is asked for."""
    if (earlier.account_id, earlier.amount) != (account.pk, amount):
        raise refusals.KeyConflict
    return earlier


def _adjust(
    account: PointsAccount, amount: int, reason: str, actor_id: UUID, key: UUID | None
) -> Entry:
    # Read under the lock: the event by which points hears of it may still be on its way.
    if account.closed_at or accounts_by_id([account.pk])[account.pk].status == "closed":
        raise refusals.AccountClosed
    now = timezone.now()
    expire_lapsed([account], now)
    entry = new_entry(
        account,
        EntryKind.ADJUST,
        amount,
        reason=reason,
        actor_id=actor_id,
        occurred_at=now,
    )
    entry.idempotency_key = f"adjust:{key or entry.pk}"
    if amount > 0:
        write([entry], [account])
    elif not write_debit(entry, account, closed_at=None):
        raise refusals.InsufficientPoints
    points_adjusted.publish(
        PointsAdjusted(entry_id=entry.pk, user_id=account.pk, amount=amount, actor_id=actor_id)
    )
    return entry
