"""What other parts of Usher may read of points."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Min, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from events.models import Delivery
from points.caps import Tally
from points.ledger import Entry, EntryKind, Lot, PointsAccount
from points.rewards import RewardReason, RewardRule, RuleKind

REWARD_RECEIVER = "points.reward_inviter"
ACCOUNT_RECEIVER = "points.follow_account"
REFERRAL_RECEIVER = "points.follow_referral"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a person has. All zero for somebody without a points account."""

    balance: int = 0  # to spend: without what has lapsed; below zero only after a reversal
    pending: int = 0  # of rewards that are not granted yet
    frozen: bool = False  # earning goes on, spending does not
    closed: bool = False  # for good
    lifetime_earned: int = 0
    next_expiry: datetime | None = None  # when the next credit lapses


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLine:
    """One change of a balance, for its owner's eyes. The label is in the reader's language."""

    id: UUID
    kind: str  # a ledger.EntryKind value
    kind_label: str
    amount: int  # credits are positive
    balance_after: int
    occurred_at: datetime
    reason: str  # as stored: a code, or what staff wrote
    reason_label: str  # the code in the reader's language


_REASON_LABELS: dict[str, Any] = dict(RuleKind.choices) | dict(RewardReason.choices)


def summary_of(user_id: UUID) -> Summary:
    """Return a person's points.

    What has lapsed does not count, also where its entry is not written yet: so the balance may be
    less than that after the latest entry, until the next expiry run.
    """
    account = PointsAccount.objects.filter(pk=user_id).first()
    if account is None:
        return Summary()
    now = timezone.now()
    lots = Lot.objects.filter(account=user_id, remaining__gt=0).aggregate(
        lapsed=Coalesce(Sum("remaining", filter=Q(expires_at__lte=now)), 0),
        next_expiry=Min("expires_at", filter=Q(expires_at__gt=now)),
    )
    return Summary(
        balance=account.balance - lots["lapsed"],
        pending=account.pending,
        frozen=account.frozen_at is not None,
        closed=account.closed_at is not None,
        lifetime_earned=account.lifetime_earned,
        next_expiry=lots["next_expiry"],
    )


def entries_of(user_id: UUID, limit: int = 20) -> list[EntryLine]:
    """Return the newest entries of a person's points account, newest first."""
    entries = Entry.objects.filter(account=user_id).order_by("-number")
    return [
        EntryLine(
            id=entry.pk,
            kind=entry.kind,
            kind_label=str(EntryKind(entry.kind).label),
            amount=entry.amount,
            balance_after=entry.balance_after,
            occurred_at=entry.occurred_at,
            reason=entry.reason,
            reason_label=str(_REASON_LABELS.get(entry.reason, entry.reason)),
        )
        for entry in entries[:limit]
    ]


def undelivered_among(invitee_ids: Iterable[UUID]) -> set[UUID]:
    """Return those whose registration is still to be delivered: it may bring their inviter points.

    A delivery that is dead counts: somebody will replay it.
    """
    owed = Delivery.objects.filter(
        receiver=REWARD_RECEIVER,
        target="",
        key__in=[str(invitee_id) for invitee_id in invitee_ids],
        finished_at__isnull=True,
    )
    return {UUID(key) for key in owed.values_list("key", flat=True)}


def points_per_invitation() -> int | None:
    """Return what inviting somebody who signs up now brings, or None where nothing does."""
    rule = _rule_at(timezone.now())
    return rule.points if rule else None


def points_for_inviter(inviter_id: UUID) -> int | None:
    """Return what this person gets for somebody who signs up now, or None.

    None where no rule is active, and where the person has had all the rewards there are.
    """
    now = timezone.now()
    rule = _rule_at(now)
    if rule is None or Tally([rule], [inviter_id], [now]).refusal(rule, inviter_id, now):
        return None
    return rule.points


def _rule_at(at: datetime) -> RewardRule | None:
    rules = RewardRule.objects.filter(
        Q(active_until__isnull=True) | Q(active_until__gt=at),
        kind=RuleKind.REFERRAL,
        active_from__lte=at,
    )
    return rules.order_by("-version").first()
