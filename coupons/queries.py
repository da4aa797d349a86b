"""What other parts of Usher may read of coupons."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Case, Q, QuerySet, When
from django.utils import timezone

import codes
from accounts.queries import accounts_by_id, referrals_by_invitee
from coupons.campaigns import Audience, Campaign, Trigger
from coupons.display import describe_benefit, describe_minimum
from coupons.models import Coupon, IssueDecision
from coupons.states import CouponState, EffectiveStatus, coupon_state, effective_status
from events.models import Delivery

WELCOME_RECEIVER = "coupons.issue_welcome_coupons"
FOLLOW_RECEIVER = "coupons.follow_account"
VOID_RECEIVER = "coupons.void_referral_benefit"
RELEASE_RECEIVER = "coupons.release_referral_benefit"


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponCard:
    """A coupon for its owner's eyes. Texts are in the reader's language."""

    code: str
    campaign: str
    terms: str
    state: str  # a states.CouponState value
    state_label: str
    benefit: str  # "12.5% off, at most 30.00 EUR"
    minimum: str  # "for orders of 50.00 EUR or more", or empty
    valid_from: datetime
    valid_until: datetime  # the first moment after


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a person who signs up now is promised. Texts are in the reader's language."""

    campaign_id: UUID
    name: str
    description: str
    terms: str
    benefit: str
    minimum: str
    ends_at: datetime | None  # the first moment after; None: open


def coupons_of(user_id: UUID, limit: int = 50) -> list[CouponCard]:
    """Return a person's newest coupons, newest first."""
    now = timezone.now()
    coupons = Coupon.objects.filter(user=user_id).select_related("campaign").order_by("-pk")
    return [_card(coupon, now) for coupon in coupons[:limit]]


def coupon_card(coupon_id: UUID) -> CouponCard | None:
    """Return one coupon as its owner sees it, or None."""
    coupon = Coupon.objects.filter(pk=coupon_id).select_related("campaign").first()
    return _card(coupon, timezone.now()) if coupon else None


def campaign_names(campaign_ids: Collection[UUID] = (), *, limit: int = 200) -> dict[UUID, str]:
    """Return the names of these campaigns, or of those that begin last.

    Before others come those that decide registrations.
    """
    chosen = Q(pk__in=campaign_ids) if campaign_ids else Q()
    by_staff = Case(When(trigger=Trigger.REGISTRATION, then=0), default=1)
    campaigns = Campaign.objects.filter(chosen).order_by(by_staff, "-starts_at", "-pk")
    return dict(campaigns.values_list("pk", "name")[:limit])


def owner_of(code: str) -> UUID | None:
    """Return who holds the coupon with this code, however it is spelled, or None."""
    coupons = Coupon.objects.filter(code=codes.normalize(code))
    return coupons.values_list("user_id", flat=True).first()


def is_undecided(user_id: UUID) -> bool:
    """Tell whether a coupon is on its way: a campaign was live at sign-up and will yet decide.

    It will as long as the registration is not delivered. A delivery that is dead counts: somebody
    will replay it. A campaign that was made after the delivery decides nothing, whenever it starts.
    """
    if not _is_owed_a_delivery(user_id):
        return False
    account = accounts_by_id([user_id]).get(user_id)
    if account is None or account.registered_at is None:
        return False
    at = account.registered_at
    decided = IssueDecision.objects.filter(user=user_id).values("campaign_id")
    campaigns = _registration_campaigns(at, invited=user_id in referrals_by_invitee([user_id]))
    undecided = campaigns.exclude(pk__in=decided).prefetch_related("status_changes")
    return any(
        effective_status(campaign, at=at, status=campaign.status_at(at)) == EffectiveStatus.LIVE
        for campaign in undecided
    )


def live_offer(*, invited: bool = False) -> Offer | None:
    """Return the offer that began last for people who sign up now, or None.

    `invited` prefers an offer for invited people where there is one.
    """
    now = timezone.now()
    live = [
        campaign
        for campaign in _registration_campaigns(now, invited=invited).order_by("-starts_at")
        if effective_status(campaign, at=now) == EffectiveStatus.LIVE
    ]
    # Sorting is stable: among campaigns for the same audience the latest stays first.
    live.sort(key=lambda campaign: campaign.audience != Audience.INVITED)
    return _offer(live[0]) if live else None


def _is_owed_a_delivery(user_id: UUID) -> bool:
    return Delivery.objects.filter(
        receiver=WELCOME_RECEIVER, target="", key=str(user_id), finished_at__isnull=True
    ).exists()


def _registration_campaigns(at: datetime, *, invited: bool) -> QuerySet[Campaign]:
    audiences = [Audience.ALL, Audience.INVITED] if invited else [Audience.ALL]
    return Campaign.objects.filter(
        Q(ends_at__isnull=True) | Q(ends_at__gt=at),
        trigger=Trigger.REGISTRATION,
        audience__in=audiences,
        starts_at__lte=at,
    )


def _card(coupon: Coupon, now: datetime) -> CouponCard:
    state = coupon_state(coupon, at=now)
    texts = coupon.campaign.texts
    return CouponCard(
        code=coupon.code,
        campaign=texts.name,
        terms=texts.terms,
        state=state.value,
        state_label=str(CouponState(state).label),
        benefit=describe_benefit(coupon),
        minimum=describe_minimum(coupon),
        valid_from=coupon.valid_from,
        valid_until=coupon.valid_until,
    )


def _offer(campaign: Campaign) -> Offer:
    texts = campaign.texts
    return Offer(
        campaign_id=campaign.pk,
        name=texts.name,
        description=texts.description,
        terms=texts.terms,
        benefit=describe_benefit(campaign),
        minimum=describe_minimum(campaign),
        ends_at=campaign.ends_at,
    )
