"""The events that coupons publishes: its public contract."""

from dataclasses import dataclass
from uuid import UUID

from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponIssued:
    """A person got a coupon. Published once per coupon."""

    coupon_id: UUID
    campaign_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponIssueSkipped:
    """A campaign was decided against for a person. Published once per campaign and person."""

    campaign_id: UUID
    user_id: UUID
    reason: str  # a coupons.models.DecisionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSoldOut:
    """The last coupon of a campaign's stock was issued. Again when added stock is used up too."""

    campaign_id: UUID
    stock: int  # coupons issued by the campaign, all told


coupon_issued = EventSignal("coupons.coupon_issued", version=1, data=CouponIssued, key="user_id")

coupon_issue_skipped = EventSignal(
    "coupons.coupon_issue_skipped", version=1, data=CouponIssueSkipped, key="user_id"
)

campaign_sold_out = EventSignal(
    "coupons.campaign_sold_out", version=1, data=CampaignSoldOut, key="campaign_id"
)
