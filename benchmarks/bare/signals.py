"""Two events, one for each receiver, so that each can be measured alone."""

from dataclasses import dataclass
from uuid import UUID

from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponOwed:
    """Somebody is owed a coupon."""

    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsOwed:
    """Somebody is owed points."""

    user_id: UUID
    points: int


coupon_owed = EventSignal("bare.coupon_owed", version=1, data=CouponOwed, key="user_id")
points_owed = EventSignal("bare.points_owed", version=1, data=PointsOwed, key="user_id")
