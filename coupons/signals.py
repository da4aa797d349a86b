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


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponRedeemed:
    """A coupon was used for an order. Published once per redemption."""

    redemption_id: UUID
    coupon_id: UUID
    campaign_id: UUID
    user_id: UUID  # the coupon's owner, whoever redeemed it
    order_amount: int  # minor units
    discount: int  # minor units
    currency: str  # ISO 4217; empty where the coupon names none


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponRedemptionRolledBack:
    """The use of a coupon was undone. Published once per redemption."""

    redemption_id: UUID
    coupon_id: UUID
    campaign_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponRevoked:
    """An unused coupon was taken back for good. Published once per coupon."""

    coupon_id: UUID
    campaign_id: UUID
    user_id: UUID
    reason: str  # a coupons.models.DecisionReason: account_closed or referral_voided


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResumed:
    """A paused campaign goes on: what the pause held back is to be issued."""

    campaign_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignEnded:
    """Staff ended a campaign: what it held back will not be issued."""

    campaign_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRequested:
    """More of what a campaign held back is to be settled. Published with each full chunk."""

    campaign_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldOutRetryRequested:
    """People refused for want of stock are to get coupons while stock lasts. Again per chunk."""

    campaign_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkIssueRequested:
    """Staff want to give coupons to a list of people. Published again with each full chunk."""

    bulk_issue_id: UUID


coupon_issued = EventSignal("coupons.coupon_issued", version=1, data=CouponIssued, key="user_id")

coupon_issue_skipped = EventSignal(
    "coupons.coupon_issue_skipped", version=1, data=CouponIssueSkipped, key="user_id"
)

campaign_sold_out = EventSignal(
    "coupons.campaign_sold_out", version=1, data=CampaignSoldOut, key="campaign_id"
)

coupon_redeemed = EventSignal(
    "coupons.coupon_redeemed", version=1, data=CouponRedeemed, key="user_id"
)

coupon_redemption_rolled_back = EventSignal(
    "coupons.coupon_redemption_rolled_back",
    version=1,
    data=CouponRedemptionRolledBack,
    key="user_id",
)

coupon_revoked = EventSignal("coupons.coupon_revoked", version=1, data=CouponRevoked, key="user_id")

campaign_resumed = EventSignal(
    "coupons.campaign_resumed", version=1, data=CampaignResumed, key="campaign_id"
)

campaign_ended = EventSignal(
    "coupons.campaign_ended", version=1, data=CampaignEnded, key="campaign_id"
)

settlement_requested = EventSignal(
    "coupons.settlement_requested", version=1, data=SettlementRequested, key="campaign_id"
)

sold_out_retry_requested = EventSignal(
    "coupons.sold_out_retry_requested", version=1, data=SoldOutRetryRequested, key="campaign_id"
)

bulk_issue_requested = EventSignal(
    "coupons.bulk_issue_requested", version=1, data=BulkIssueRequested, key="bulk_issue_id"
)
