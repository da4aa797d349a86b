"""The people a person invited, with what inviting them brought: accounts and points together."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from accounts import emails
from accounts.models import Referral
from points.rewards import RewardDecision, RewardOutcome, RuleKind

_PROMISING = {RewardOutcome.PENDING, RewardOutcome.GRANTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What was decided about the reward for inviting somebody."""

    outcome: str  # a points.rewards.RewardOutcome value
    outcome_label: str  # in the reader's language
    points: int  # 0 where there will be none
    reason: str  # a points.rewards.RewardReason value; empty where it is granted
    reason_label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitedPerson:
    """Somebody who signed up through a person's link, as that person may see them."""

    registered_at: datetime | None  # None: the sign-up waits for its address
    invitee: str  # masked
    status: str  # an accounts.models.ReferralStatus value
    status_label: str
    reward: Reward | None  # None: nothing is decided yet


def referrals_by(inviter_id: UUID) -> QuerySet[Referral]:
    """Return the referrals of a person with what `describe` needs: two queries, however many."""
    decisions = RewardDecision.objects.filter(rule_kind=RuleKind.REFERRAL)
    return (
        Referral.objects.filter(inviter=inviter_id)
        .select_related("invitee")
        .prefetch_related(
            Prefetch("invitee__reward_decisions_as_invitee", decisions, to_attr="rewards")
        )
    )


def describe(referral: Referral) -> InvitedPerson:
    """Return what the inviter may see of one of `referrals_by`."""
    rewards: list[RewardDecision] = getattr(referral.invitee, "rewards")  # noqa: B009  # prefetched
    return InvitedPerson(
        registered_at=referral.invitee.registered_at,
        invitee=emails.mask(referral.invitee.email),
        status=referral.status,
        status_label=referral.get_status_display(),
        reward=_reward(rewards[0]) if rewards else None,
    )


def _reward(decision: RewardDecision) -> Reward:
    return Reward(
        outcome=decision.outcome,
        outcome_label=decision.get_outcome_display(),
        points=decision.points if decision.outcome in _PROMISING else 0,
        reason=decision.reason,
        reason_label=decision.get_reason_display(),
    )
