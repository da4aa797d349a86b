"""Rules, accounts and entries to test with."""

from datetime import timedelta
from itertools import count
from typing import Any

from django.utils import timezone

from accounts.models import User
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
    """Return an entry of 10 points, whatever the account's sums say."""
    number = next(_numbers)
    columns: dict[str, Any] = {
        "account": account,
        "number": number,
        "kind": "earn",
        "amount": 10,
        "balance_after": 10,
        "idempotency_key": f"test:{number}",
    }
    return Entry.objects.create(**(columns | given))


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
