"""What a person's wallet shows, read from coupons, points and accounts: they know nothing of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

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

INVITED_SHOWN = 10  # people
UNDERWAY_LIMIT = 1000  # people: of more than so many at once the newest are asked about
USUAL_WAIT_S = 10  # so long something may be on its way before the page says that it is late
# How often an open page asks, by how long it has been waiting. Later, only each minute: as ever.
LOOK_AFTER_S = {USUAL_WAIT_S: 1, 60: 3, 600: 15}


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """What is still to be decided about, for which people signed up."""

    count: int  # of sign-ups, from 1
    is_late: bool  # one of them takes longer than usual
    look_after_s: int | None  # when an open page should ask again; None: when it would anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """Everything on the page."""

    coupons: list[CouponCard]
    points: Summary
    entries: list[EntryLine]
    invite_url: str
    invited: list[InvitedPerson]  # the latest first
    coupon_underway: Underway | None  # None: there is nothing to come
    rewards_underway: Underway | None  # for people who signed up through the link

    @property
    def invite_qr(self) -> str:
        """The invite link as a QR code. Drawn on demand: it is half of the work, and never new."""
        return qr_code(self.invite_url)


def wallet_of(user: User) -> Wallet:
    """Return a person's wallet as it is now.

    What is on its way is asked first: what arrives in between is then in both. Asked last, it would
    be in neither.
    """
    coupon_underway = _underway([user.registered_at] if is_undecided(user.pk) else [])
    rewards_underway = _underway(_undecided_referrals(user))
    return Wallet(
        coupons=coupons_of(user.pk),
        points=summary_of(user.pk),
        entries=entries_of(user.pk),
        invite_url=invite_url(user.referral_code),
        invited=[
            describe(referral)
            for referral in referrals_by(user.pk).order_by("-invitee")[:INVITED_SHOWN]
        ],
        coupon_underway=coupon_underway,
        rewards_underway=rewards_underway,
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
    newest = referrals.order_by("-created_at", "-invitee")[:UNDERWAY_LIMIT]
    registered_at = dict(newest.values_list("invitee_id", "invitee__registered_at"))
    return [registered_at[invitee_id] for invitee_id in undelivered_among(registered_at)]


def _underway(registered_at: Iterable[datetime | None]) -> Underway | None:
    now = timezone.now()
    ages_s = [(now - at).total_seconds() for at in registered_at if at]
    if not ages_s:
        return None
    intervals = (every_s for until_s, every_s in LOOK_AFTER_S.items() if min(ages_s) < until_s)
    return Underway(
        count=len(ages_s),
        is_late=max(ages_s) >= USUAL_WAIT_S,
        look_after_s=next(intervals, None),
    )
