"""What a campaign or a coupon is at a given moment. Nothing else in Usher works this out."""

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from coupons.campaigns import Campaign, CampaignStatus
from coupons.models import Coupon, CouponStatus


class EffectiveStatus(models.TextChoices):
    """A campaign's status with the clock and the stock taken into account."""

    DRAFT = "draft", _("draft")
    SCHEDULED = "scheduled", _("scheduled")
    LIVE = "live", _("live")
    PAUSED = "paused", _("paused")
    SOLD_OUT = "sold_out", _("sold out")
    ENDED = "ended", _("ended")
    ARCHIVED = "archived", _("archived")


class CouponState(models.TextChoices):
    """A coupon as its owner sees it."""

    USABLE = "usable", _("usable")
    UPCOMING = "upcoming", _("upcoming")
    REDEEMED = "redeemed", _("redeemed")
    SUSPENDED = "suspended", _("suspended")
    REVOKED = "revoked", _("revoked")
    EXPIRED = "expired", _("expired")


def effective_status(
    campaign: Campaign, *, at: datetime, status: str | None = None
) -> EffectiveStatus:
    """Return what the campaign is at that moment.

    `status` is the one it had then, where that is not the one it has now.
    """
    status = status or campaign.status
    if status not in {CampaignStatus.ACTIVE, CampaignStatus.PAUSED}:
        return EffectiveStatus(status)
    if campaign.ends_at is not None and at >= campaign.ends_at:
        return EffectiveStatus.ENDED
    if status == CampaignStatus.PAUSED:
        return EffectiveStatus.PAUSED
    if at < campaign.starts_at:
        return EffectiveStatus.SCHEDULED
    if campaign.stock is not None and campaign.issued_count >= campaign.stock:
        return EffectiveStatus.SOLD_OUT
    return EffectiveStatus.LIVE


def coupon_state(coupon: Coupon, *, at: datetime) -> CouponState:
    """Return what the coupon is to its owner at that moment."""
    if coupon.status == CouponStatus.REVOKED:
        return CouponState.REVOKED
    if coupon.status == CouponStatus.REDEEMED:
        return CouponState.REDEEMED
    if at >= coupon.valid_until:
        return CouponState.EXPIRED
    if coupon.suspended_at is not None:
        return CouponState.SUSPENDED
    return CouponState.UPCOMING if at < coupon.valid_from else CouponState.USABLE
