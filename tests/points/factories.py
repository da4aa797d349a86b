"""Rules, accounts and entries to test with."""

from datetime import timedelta
from itertools import count
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from points.bookkeeping import is_credit, lock_account, new_entry, new_lot, write
from points.ledger import EntryKind
from points.models import Entry, PointsAccount, RewardDecision, RewardRule

_numbers = count(1)


def rule_columns(**given: Any) -> dict[str, Any]:
    """Return the columns of an active rule: 100 points for each invited person."""
    active_from = timezone.now() - timedelta(days=365)
    return {"version": 1, "points": 100, "active_from": active_from} | given


def make_rule(**given: Any) -> RewardRule:
    """Return a new rule; what matters is given, the rest makes it an active one."""
    return RewardRule.objects.create(**rule_columns(**given))


def make_account(user: User, **given: Any) -> PointsAccount:
    """Return a points account."""
    return PointsAccount.objects.create(user=user, **given)


def make_entry(account: PointsAccount, **given: Any) -> Entry:
    """Return an entry of 10 points, whatever the account's sums say; all of a credit is left."""
    number = next(_numbers)
    columns: dict[str, Any] = {
        "account": account,
        "number": number,
        "kind": "earn",
        "amount": 10,
        "balance_after": 10,
        "idempotency_key": f"test:{number}",
    }
    entry = Entry.objects.create(**(columns | given))
    if is_credit(entry):
        new_lot(entry, entry.amount).save()
    return entry


def credit(user: User, amount: int, **given: Any) -> Entry:
    """Credit points as a reward does: numbered, with its lot and the account's sums."""
    with transaction.atomic():
        account = lock_account(user.pk)
        columns = {"idempotency_key": f"test:{next(_numbers)}", "reason": "referral"} | given
        entry = new_entry(account, EntryKind.EARN, amount, **columns)
        write([entry], [account])
    return entry


def make_decision(inviter: User, invitee: User, **given: Any) -> RewardDecision:
    """Return a decision to grant a reward, by the only rule there is, without the entry."""
    columns: dict[str, Any] = {
        "rule_kind": "referral",
        "inviter": inviter,
        "invitee": invitee,
        "outcome": "granted",
        "rule": RewardRule.objects.first(),
        "points": 100,
        "occurred_at": timezone.now(),
    }
    return RewardDecision.objects.create(**(columns | given))
