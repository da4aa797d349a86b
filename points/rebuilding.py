"""Points accounts and lots are made from entries and decisions, and can be made anew."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from uuid import UUID

from django.db.models import Sum

from events.operations.chunks import Progress, in_short_transaction, silent
from points.bookkeeping import lock_accounts, new_lot, save_lots
from points.ledger import Entry, EntryKind, Lot, PointsAccount
from points.lots import replay
from points.rewards import RewardDecision, RewardOutcome

ACCOUNTS_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A stored figure that is not what the entries and decisions say."""

    account_id: UUID
    what: str  # a column of the account, or "lot"
    lot_id: UUID | None = None
    stored: int | None  # None: the lot is missing
    rebuilt: int


def differences(*, repair: bool = False, progress: Progress = silent) -> Iterator[Difference]:
    """Yield all differences, account by account; with `repair` they are put right before.

    It may run beside live traffic: what looks different is looked at again under the locks.
    `progress` hears how many accounts were looked at. Yields nothing for an account that was put
    right meanwhile.
    """
    after = UUID(int=0)
    accounts = PointsAccount.objects.order_by("pk").values_list("pk", flat=True)
    while user_ids := list(accounts.filter(pk__gt=after)[:ACCOUNTS_AT_ONCE]):
        suspects = {difference.account_id for difference in _compare(user_ids)}
        if suspects:
            yield from in_short_transaction(partial(_confirm, suspects, repair=repair))
        after = user_ids[-1]
        progress(len(user_ids))


def _confirm(user_ids: set[UUID], *, repair: bool) -> list[Difference]:
    accounts = lock_accounts(user_ids)
    found = _compare(sorted(user_ids))
    if repair:
        _repair_accounts(accounts, [d for d in found if d.lot_id is None])
        _repair_lots({d.lot_id: d.rebuilt for d in found if d.lot_id is not None})
    return found


def _compare(user_ids: Sequence[UUID]) -> list[Difference]:
    """Return the differences of some accounts. Four queries."""
    accounts = PointsAccount.objects.filter(pk__in=user_ids).order_by("pk")
    entries = Entry.objects.filter(account__in=user_ids).order_by("account", "number")
    history = {pk: list(of_one) for pk, of_one in groupby(entries, lambda entry: entry.account_id)}
    pending = _pending(user_ids)
    lots = _stored_lots(user_ids)
    found: list[Difference] = []
    for account in accounts:
        own = history.get(account.pk, [])
        found += _wrong_sums(account, own, pending.get(account.pk, 0))
        found += _wrong_lots(account.pk, own, lots[account.pk])
    return found


def _pending(user_ids: Sequence[UUID]) -> dict[UUID, int]:
    waiting = RewardDecision.objects.filter(inviter__in=user_ids, outcome=RewardOutcome.PENDING)
    return dict(waiting.order_by().values_list("inviter").annotate(Sum("points")))


def _stored_lots(user_ids: Sequence[UUID]) -> Mapping[UUID, dict[UUID, int]]:
    lots: dict[UUID, dict[UUID, int]] = defaultdict(dict)
    rows = Lot.objects.filter(entry__account__in=user_ids)
    for account_id, lot_id, remaining in rows.values_list("account_id", "pk", "remaining"):
        lots[account_id][lot_id] = remaining
    return lots


def _wrong_sums(account: PointsAccount, entries: list[Entry], pending: int) -> list[Difference]:
    rebuilt = {
        "balance": sum(entry.amount for entry in entries),
        "lifetime_earned": sum(e.amount for e in entries if e.kind == EntryKind.EARN),
        "version": entries[-1].number if entries else 0,
        "pending": pending,
    }
    return [
        Difference(
            account_id=account.pk, what=column, stored=getattr(account, column), rebuilt=value
        )
        for column, value in rebuilt.items()
        if getattr(account, column) != value
    ]


def _wrong_lots(
    account_id: UUID, entries: list[Entry], stored: dict[UUID, int]
) -> list[Difference]:
    remaining = replay(entries).remaining
    return [
        Difference(
            account_id=account_id,
            what="lot",
            lot_id=lot_id,
            stored=stored.get(lot_id),
            rebuilt=remaining.get(lot_id, 0),
        )
        for lot_id in sorted(remaining.keys() | stored.keys())
        if stored.get(lot_id) != remaining.get(lot_id, 0)
    ]


def _repair_accounts(accounts: Mapping[UUID, PointsAccount], found: Sequence[Difference]) -> None:
    for difference in found:
        setattr(accounts[difference.account_id], difference.what, difference.rebuilt)
    wrong = {difference.account_id for difference in found}
    columns = ["balance", "lifetime_earned", "version", "pending"]
    PointsAccount.objects.bulk_update([accounts[user_id] for user_id in wrong], columns)


def _repair_lots(remaining: Mapping[UUID, int]) -> None:
    credits = Entry.objects.filter(pk__in=remaining)
    save_lots([new_lot(credit, remaining[credit.pk]) for credit in credits])
