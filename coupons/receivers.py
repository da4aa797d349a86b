"""What coupons does when something happened elsewhere."""

from collections.abc import Sequence

from accounts.signals import (
    AccountCleared,
    AccountClosed,
    AccountFlagged,
    ReferralApproved,
    ReferralVoided,
    UserRegistered,
    account_cleared,
    account_closed,
    account_flagged,
    referral_approved,
    referral_voided,
    user_registered,
)
from coupons import bulk_issuing, following, services, settling
from coupons.funnel import campaign_funnel
from coupons.models import ProcessedEvent
from coupons.signals import (
    BulkIssueRequested,
    CampaignEnded,
    CampaignResumed,
    CouponIssued,
    CouponIssueSkipped,
    CouponRedeemed,
    CouponRedemptionRolledBack,
    SettlementRequested,
    SoldOutRetryRequested,
    bulk_issue_requested,
    campaign_ended,
    campaign_resumed,
    coupon_issue_skipped,
    coupon_issued,
    coupon_redeemed,
    coupon_redemption_rolled_back,
    settlement_requested,
    sold_out_retry_requested,
)
from events.envelope import Event
from events.receivers import background_receiver


@background_receiver(user_registered, inbox=ProcessedEvent, batch=True)
def issue_welcome_coupons(events: Sequence[Event[UserRegistered]]) -> None:
    """Decide every live registration campaign for each new user."""
    services.decide_registration_campaigns(events)


@background_receiver(
    account_flagged, account_cleared, account_closed, inbox=ProcessedEvent, batch=True
)
def follow_account(
    events: Sequence[Event[AccountFlagged] | Event[AccountCleared] | Event[AccountClosed]],
) -> None:
    """Suspend, restore or revoke coupons, and settle what was held, as the accounts are now."""
    following.follow_people({event.data.user_id: event for event in events})


@background_receiver(referral_voided, inbox=ProcessedEvent, batch=True)
def void_referral_benefit(events: Sequence[Event[ReferralVoided]]) -> None:
    """Revoke the unused coupons that people got for being invited, or owe them none."""
    following.follow_people({event.data.invitee_id: event for event in events})


@background_receiver(referral_approved, inbox=ProcessedEvent, batch=True)
def release_referral_benefit(events: Sequence[Event[ReferralApproved]]) -> None:
    """Issue the coupons for invited people that waited for the referral's review."""
    following.follow_people({event.data.invitee_id: event for event in events})


@background_receiver(campaign_resumed, campaign_ended, settlement_requested, inbox=ProcessedEvent)
def settle_held_decisions(
    event: Event[CampaignResumed] | Event[CampaignEnded] | Event[SettlementRequested],
) -> None:
    """Decide again, a chunk at a time, what a campaign held back."""
    settling.settle_held(campaign_id=event.data.campaign_id)


@background_receiver(sold_out_retry_requested, inbox=ProcessedEvent)
def retry_sold_out_decisions(event: Event[SoldOutRetryRequested]) -> None:
    """Issue coupons, a chunk at a time, to those who were refused for want of stock."""
    settling.settle_sold_out(campaign_id=event.data.campaign_id)


@background_receiver(bulk_issue_requested, inbox=ProcessedEvent)
def issue_in_bulk(event: Event[BulkIssueRequested]) -> None:
    """Issue coupons, a chunk at a time, to the people of a list."""
    bulk_issuing.issue_next_chunk(bulk_issue_id=event.data.bulk_issue_id, event_id=event.id)


@background_receiver(
    coupon_issued,
    coupon_issue_skipped,
    coupon_redeemed,
    coupon_redemption_rolled_back,
    inbox=ProcessedEvent,
    batch=True,
)
def project_funnel(
    events: Sequence[
        Event[CouponIssued]
        | Event[CouponIssueSkipped]
        | Event[CouponRedeemed]
        | Event[CouponRedemptionRolledBack]
    ],
) -> None:
    """Count what happened in the campaigns' funnels."""
    campaign_funnel.apply(events)
