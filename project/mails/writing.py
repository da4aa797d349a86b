"""What mails say: in the person's language, as text and as HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import override

from accounts.models import User
from accounts.queries import invite_url
from coupons.queries import coupon_card
from coupons.states import CouponState
from points.queries import summary_of

_WORTH_TELLING = {CouponState.USABLE, CouponState.UPCOMING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a mail says."""

    language: str
    subject: str  # one line
    text: str
    html: str


def write_welcome(user: User) -> Letter:
    """Return the mail that welcomes a newcomer."""
    return _write("welcome", user, {"invite_url": invite_url(user.referral_code)})


def write_coupon(user: User, coupon_id: UUID) -> Letter | None:
    """Return the mail that brings a coupon, or None where it can't be used any more."""
    with override(user.language):
        coupon = coupon_card(coupon_id)
    if coupon is None or coupon.state not in _WORTH_TELLING:
        return None
    return _write("coupon", user, {"coupon": coupon})


def write_reward(user: User, points: int) -> Letter:
    """Return the mail that tells of points for an invitation."""
    balance = summary_of(user.pk).balance
    return _write("reward", user, {"points": points, "balance": balance})


def _write(kind: str, user: User, about: Mapping[str, Any]) -> Letter:
    context = {
        **about,
        "host": urlsplit(settings.PUBLIC_URL).netloc,
        "wallet_url": settings.PUBLIC_URL + reverse("wallet"),
    }
    with override(user.language):
        subject = render_to_string(f"mails/{kind}_subject.txt", context)
        return Letter(
            language=user.language,
            subject=" ".join(subject.split()),  # names of campaigns may have line breaks
            text=render_to_string(f"mails/{kind}_message.txt", context).strip() + "\n",
            html=render_to_string(f"mails/{kind}_message.html", context),
        )
