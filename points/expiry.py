"""Points lapse: whatever is left of a credit at its expiry is taken off by an entry."""

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db.models import Count, QuerySet, Sum

from events.operations.chunks import Progress, in_short_transaction, silent
from points.bookkeeping import lock_accounts, mend_lots, new_entry, save_lots, write
from points.ledger import Entry, EntryKind, Lot, PointsAccount
from points.signals import PointsExpired, points_expired

LOTS_AT_ONCE = 100  # in one transaction: some 20 ms of the writer that SQLite has only one of


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What an expiry run did, or would do."""

    lots: int = 0  # one entry each
    points: int = 0


def lapsed_lots(now: datetime) -> QuerySet[Lot]:
    """Return the lots that have lapsed and still hold something."""
    return Lot.objects.filter(remaining__gt=0, expires_at__lte=now)


def planned_expiry(now: datetime) -> Expired:
    """Return what a run would do now."""
    sums = lapsed_lots(now).aggregate(lots=Count("pk"), points=Sum("remaining"))
    return Expired(lots=sums["lots"], points=sums["points"] or 0)


def expire_due(*, now: datetime, limit: int = sys.maxsize, progress: Progress = silent) -> Expired:
    """Expire what has lapsed by `now`, `limit` lots at most, in short transactions.

    Points of frozen and closed accounts lapse too. A run that is interrupted has done some of
    the work; the next one does the rest. `progress` hears how many lots each transaction did.
    """
    lots = points = 0
    while limit is None or lots < limit:
        at_once = LOTS_AT_ONCE if limit is None else min(LOTS_AT_ONCE, limit - lots)
        chosen = list(
            lapsed_lots(now).order_by("expires_at").values_list("pk", "account")[:at_once]
        )
        if not chosen:
            break
        entries = in_short_transaction(partial(_expire_chosen, chosen, now))
        lots += len(entries)
        points -= sum(entry.amount for entry in entries)
        progress(len(entries))
    return Expired(lots=lots, points=points)


def expire_lapsed(accounts: Collection[PointsAccount], now: datetime) -> list[Entry]:
    """Expire what locked accounts hold that has lapsed, and return the entries."""
    return _expire(lapsed_lots(now).filter(account__in=accounts), accounts, now)


def _expire_chosen(chosen: Iterable[tuple[UUID, UUID]], now: datetime) -> list[Entry]:
    accounts = lock_accounts({account_id for _, account_id in chosen})
    # Read again under the locks: they may have been spent meanwhile.
    lots = lapsed_lots(now).filter(pk__in=[lot_id for lot_id, _ in chosen])
    return _expire(lots, accounts.values(), now)


def _expire(lots: QuerySet[Lot], accounts: Collection[PointsAccount], now: datetime) -> list[Entry]:
    mend_lots(accounts)
    by_id = {account.pk: account for account in accounts}
    lapsed = list(lots.order_by("account", "expires_at", "occurred_at", "number"))
    if not lapsed:
        return []
    entries = [_entry(by_id[lot.account_id], lot, now) for lot in lapsed]
    changed = {lot.account_id for lot in lapsed}
    write(entries, [account for account in accounts if account.pk in changed])
    for lot in lapsed:
        lot.remaining = 0
    save_lots(lapsed)
    points_expired.publish_many(list(map(_event, lapsed, entries)))
    return entries


def _entry(account: PointsAccount, lot: Lot, now: datetime) -> Entry:
    return new_entry(
        account,
        EntryKind.EXPIRE,
        -lot.remaining,
        # Numbered: a spending that is undone may fill a lot again that has expired.
        idempotency_key=f"expire:{lot.pk}:{account.version + 1}",
        lot_id=lot.pk,
        occurred_at=now,
    )


def _event(lot: Lot, entry: Entry) -> PointsExpired:
    return PointsExpired(
        entry_id=entry.pk,
        user_id=entry.account_id,
        amount=-entry.amount,
        credit_entry_id=lot.pk,
    )
