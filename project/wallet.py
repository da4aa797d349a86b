"""What a person's wallet shows, read from coupons, points and accounts: they know nothing of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import segno
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.safestring import mark_safe

from accounts.models import Referral, ReferralStatus, User
from accounts.queries import invite_url
from coupons.queries import CouponCard, coupons_of, is_undecided
from points.queries import EntryLine, Summary, entries_of, summary_of, undelivered_among
from points.rewards import RewardDecision, RuleKind
from project.invited import InvitedPerson, describe, referrals_by

LOOK_AGAIN_FOR = timedelta(seconds=30)  # after a registration; then patience is the better advice

INVITED_SHOWN = 10  # people


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """Everything on the page."""

    coupons: list[CouponCard]
    points: Summary
    entries: list[EntryLine]
    invite_url: str
    invite_qr: str  # the same as a QR code: an SVG to put into the page
    invited: list[InvitedPerson]  # the latest first
    coupon_is_underway: bool
    rewards_underway: int  # people who signed up through the link, not decided about so far
    looks_again: bool  # whether the page should reload itself: something is about to arrive

    @property
    def something_is_late(self) -> bool:
        """Tell whether something has been on its way for longer than usual."""
        underway = self.coupon_is_underway or self.rewards_underway > 0
        return underway and not self.looks_again


def wallet_of(user: User) -> Wallet:
    """Return a person's wallet as it is now."""
    coupon_is_underway = is_undecided(user.pk)
    undecided = _undecided_referrals(user)
    link = invite_url(user.referral_code)
    waited_for = undecided + ([user.registered_at] if coupon_is_underway else [])
    return Wallet(
        coupons=coupons_of(user.pk),
        points=summary_of(user.pk),
        entries=entries_of(user.pk),
        invite_url=link,
        invite_qr=qr_code(link),
        invited=[
            describe(referral)
            for referral in referrals_by(user.pk).order_by("-invitee")[:INVITED_SHOWN]
        ],
        coupon_is_underway=coupon_is_underway,
        rewards_underway=len(undecided),
        looks_again=any(map(_is_fresh, waited_for)),
    )


def qr_code(text: str) -> str:
    """Return a QR code as SVG for a page: dark on light in every colour scheme, to be scanned."""
    code = segno.make_qr(text, error="m")
    svg = code.svg_inline(omitsize=True, border=4, dark="#000", light="#fff", svgclass=None)
    return mark_safe(svg)  # noqa: S308  # drawn by us: the text is in it as squares only


def _undecided_referrals(user: User) -> list[datetime | None]:
    """Return when those registered whom the person invited and something will be decided about."""
    decided = RewardDecision.objects.filter(
        invitee=OuterRef("invitee"), rule_kind=RuleKind.REFERRAL
    )
    referrals = Referral.objects.filter(
        ~Exists(decided), inviter=user, invitee__registered_at__isnull=False
    ).exclude(status=ReferralStatus.VOIDED)
    registered_at = dict(referrals.values_list("invitee_id", "invitee__registered_at"))
    return [registered_at[invitee_id] for invitee_id in undelivered_among(registered_at)]


def _is_fresh(registered_at: datetime | None) -> bool:
    return registered_at is not None and timezone.now() - registered_at < LOOK_AGAIN_FOR
