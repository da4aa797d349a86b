"""The events of what spans apps: checkouts, and alarms about receivers."""

from dataclasses import dataclass
from uuid import UUID

from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutStarted:
    """A coupon was redeemed for an order, and points are to be spent for it."""

    checkout_id: UUID
    user_id: UUID  # who pays


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutCompleted:
    """The points of a checkout were spent."""

    checkout_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutRefused:
    """The points of a checkout could not be spent: its redemption is to be rolled back."""

    checkout_id: UUID
    user_id: UUID
    reason: str  # a code of points.refusals, or "redemption_rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutUndone:
    """One half of a completed checkout was rolled back, and the other one with it."""

    checkout_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmBegan:
    """A receiver falls behind, or deliveries to it are dead. Told once, until it is over."""

    alarm_id: UUID
    receiver: str
    kind: str  # "overdue" or "dead"
    oldest_due_age_s: float  # for how long the oldest delivery has been due
    dead: int  # deliveries; 10,001: more than 10,000


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEnded:
    """What an alarm was about is over."""

    alarm_id: UUID
    receiver: str
    kind: str  # "overdue" or "dead"
    lasted_s: float


checkout_started = EventSignal(
    "project.checkout_started", version=1, data=CheckoutStarted, key="user_id"
)

checkout_completed = EventSignal(
    "project.checkout_completed", version=1, data=CheckoutCompleted, key="user_id"
)

checkout_refused = EventSignal(
    "project.checkout_refused", version=1, data=CheckoutRefused, key="user_id"
)

checkout_undone = EventSignal(
    "project.checkout_undone", version=1, data=CheckoutUndone, key="user_id"
)

alarm_began = EventSignal("project.alarm_began", version=1, data=AlarmBegan, key="alarm_id")

alarm_ended = EventSignal("project.alarm_ended", version=1, data=AlarmEnded, key="alarm_id")
