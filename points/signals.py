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
class PointsSpent:
    """A person paid for an order with points."""

    entry_id: UUID
    user_id: UUID
    amount: int  # positive
    order_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsSpendRolledBack:
    """A spending was undone, once: the points are back."""

    entry_id: UUID
    user_id: UUID
    amount: int  # positive
    order_ref: str
    spend_entry_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsReversed:
    """Points that were earned were taken back, once, whether they were spent or not."""

    entry_id: UUID
    user_id: UUID
    amount: int  # what was taken; 0 where all of it had lapsed before
    earn_entry_id: UUID
    reason: str  # a code, such as "referral_voided"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsExpired:
    """What was left of a credit lapsed."""

    entry_id: UUID
    user_id: UUID
    amount: int  # positive
    credit_entry_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsAdjusted:
    """A member of staff added points or took some off. Why is in the ledger: it may name people."""

    entry_id: UUID
    user_id: UUID
    amount: int  # negative where points were taken off
    actor_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSkipped:
    """A person gets no reward for inviting another. Published once per rule kind and invitee."""

    rule_kind: str
    inviter_id: UUID
    invitee_id: UUID
    reason: str  # a points.rewards.RewardReason


points_earned = EventSignal("points.points_earned", version=1, data=PointsEarned, key="user_id")

points_spent = EventSignal("points.points_spent", version=1, data=PointsSpent, key="user_id")

points_spend_rolled_back = EventSignal(
    "points.points_spend_rolled_back", version=1, data=PointsSpendRolledBack, key="user_id"
)

points_reversed = EventSignal(
    "points.points_reversed", version=1, data=PointsReversed, key="user_id"
)

points_expired = EventSignal("points.points_expired", version=1, data=PointsExpired, key="user_id")

points_adjusted = EventSignal(
    "points.points_adjusted", version=1, data=PointsAdjusted, key="user_id"
)

reward_skipped = EventSignal(
    "points.reward_skipped", version=1, data=RewardSkipped, key="inviter_id"
)
