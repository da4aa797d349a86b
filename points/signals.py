"""The events that points publishes: its public contract."""

from dataclasses import dataclass
from uuid import UUID

from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsEarned:
    """Points were credited to a person. Published once per entry in the ledger."""

    entry_id: UUID
    user_id: UUID
    amount: int
    reason: str  # the kind of rule that granted them, such as "referral"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSkipped:
    """A person gets no reward for inviting another. Published once per rule kind and invitee."""

    rule_kind: str
    inviter_id: UUID
    invitee_id: UUID
    reason: str  # a points.rewards.RewardReason


points_earned = EventSignal("points.points_earned", version=1, data=PointsEarned, key="user_id")

reward_skipped = EventSignal(
    "points.reward_skipped", version=1, data=RewardSkipped, key="inviter_id"
)
