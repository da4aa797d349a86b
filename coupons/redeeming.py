"""Using a coupon for an order: the question, the use, and its undoing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

import codes
from accounts.queries import accounts_by_id
from coupons.benefits import ALL_BASIS_POINTS, Benefit
from coupons.display import describe_minimum
from coupons.following import bring_in_line
from coupons.locking import lock_campaigns
from coupons.models import CODE_LENGTH, Coupon, CouponStatus, Redemption
from coupons.refusals import Refused
from coupons.signals import (
    CouponRedeemed,
    CouponRedemptionRolledBack,
    coupon_redeemed,
    coupon_redemption_rolled_back,
)
from coupons.states import CouponState, coupon_state

REDEEM_ANY = "coupons.redeem_coupon"  # the permission of shops and other services

SENTENCES = {  # of refusals that need no figures
    "redeemed": gettext_lazy("This coupon has been used already."),
    "suspended": gettext_lazy("This coupon can't be used while the account is under review."),
    "revoked": gettext_lazy("This coupon was taken back."),
    "expired": gettext_lazy("This coupon has expired."),
    "upcoming": gettext_lazy("This coupon is not valid yet."),
    "order_amount_differs": gettext_lazy(
        "The coupon was used for this order with another amount. Roll that back, then use another "
        "order reference."
    ),
    "order_undone": gettext_lazy(
        "The coupon's use for this order was undone. Use another order reference."
    ),
    "no_discount": gettext_lazy("This coupon takes nothing off so small an order."),
}


class NotFound(Refused):
    """There is nothing of that kind that the caller may know of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a coupon would do for an order."""

    valid: bool
    discount: int  # minor units; 0 where it is not valid
    reason: str | None  # why it is not: a states.CouponState value, "min_spend", "no_discount"


def discount_of(benefit: Benefit, order_amount: int) -> int:
    """Return what is taken off an order, in minor units, never more than the order.

    A fraction of a minor unit is dropped: percentages are rounded down, in the shop's favour.
    """
    if benefit.amount is not None:
        return min(benefit.amount, order_amount)
    discount = order_amount * (benefit.basis_points or 0) // ALL_BASIS_POINTS
    return discount if benefit.cap is None else min(discount, benefit.cap)


def validate(*, code: str, order_amount: int, by: Any) -> Quote:
    """Return what a coupon would take off an order, or why it would not. Nothing is changed.

    `by` is the account that asks. Raises NotFound as `redeem` does.
    """
    coupon = _find_coupon(code, by)
    reason = _obstacle(coupon, order_amount, timezone.now())
    if reason:
        return Quote(valid=False, discount=0, reason=reason)
    return Quote(valid=True, discount=discount_of(coupon, order_amount), reason=None)


@transaction.atomic
def redeem(*, code: str, order_ref: str, order_amount: int, by: Any) -> Redemption:
    """Use a coupon for an order, once. The same order again returns the same redemption.

    An order whose redemption was rolled back is refused from then on, so that a call that comes
    late, or a second time, has no effect.

    `order_amount` is in minor units, 1 to MAX_ORDER_AMOUNT; `by` the owner, or an account that may
    redeem anybody's coupons. Raises NotFound (unknown_code, or mistyped_code for those who may),
    and Refused (a CouponState value, min_spend, no_discount, order_amount_differs, order_undone).
    """
    coupon = _find_coupon(code, by)
    if _take(coupon, order_amount):
        return _record(coupon, order_ref, order_amount, by)
    return _redeemed_before(coupon, order_ref, order_amount)


@transaction.atomic
def redeem_anew(*, code: str, order_ref: str, order_amount: int, by: Any) -> Redemption:
    """Use a coupon as `redeem` does, but refuse what was redeemed before for the same order too."""
    coupon = _find_coupon(code, by)
    if _take(coupon, order_amount):
        return _record(coupon, order_ref, order_amount, by)
    raise _refusal(coupon, order_amount)


@transaction.atomic
def roll_back(*, redemption_id: UUID, by: Any) -> Redemption:
    """Undo the use of a coupon, once; a second call changes nothing and returns the same.

    The coupon can be used again if it is still valid, and if nothing has happened meanwhile that
    suspends or revokes it. `by` is whoever redeemed it, or an account that may redeem anybody's: a
    shop whose orders their owners must not undo redeems with an account of its own.
    Raises NotFound (unknown_redemption).
    """
    _require_redemption_of(redemption_id, by)
    return give_back(redemption_id=redemption_id, by=by)


@transaction.atomic
def give_back(*, redemption_id: UUID, by: Any) -> Redemption:
    """Undo the use of a coupon as `roll_back` does, whoever made it: nobody is asked for consent.

    For what follows from a decision that was made already. `by` is named in the redemption.
    """
    redemption = Redemption.objects.select_related("coupon").get(pk=redemption_id)
    # Whoever suspends or revokes coupons takes turns with this on the campaign's row.
    campaigns = lock_campaigns(Q(pk=redemption.coupon.campaign_id))
    applied = Redemption.objects.filter(pk=redemption_id, rolled_back_at__isnull=True)
    if applied.update(rolled_back_at=timezone.now(), rolled_back_by=by):
        _publish_rolled_back(redemption.coupon, redemption)
        Coupon.objects.filter(pk=redemption.coupon_id).update(status=CouponStatus.ISSUED)
        bring_in_line(campaigns, [redemption.coupon.user_id])
    return Redemption.objects.select_related("coupon").get(pk=redemption_id)


def may_redeem_any(by: Any) -> bool:
    """Tell whether an account may redeem coupons that are not its own."""
    return bool(by.has_perm(REDEEM_ANY))


def _find_coupon(code: str, by: Any) -> Coupon:
    normalized = codes.normalize(code)
    if not codes.is_well_formed(normalized, CODE_LENGTH):
        raise _unknown(by, "mistyped_code")
    mine = Q() if may_redeem_any(by) else Q(user=by.pk)
    coupon = Coupon.objects.filter(mine, code=normalized).first()
    if coupon is None:
        raise _unknown(by, "unknown_code")
    return coupon


def _unknown(by: Any, code: str) -> NotFound:
    """Return one answer for the public, whatever the code is: theirs to guess it is not."""
    if code == "mistyped_code" and may_redeem_any(by):
        return NotFound(code, _("This code has a typing error. Compare it with the coupon."))
    return NotFound("unknown_code", _("There is no coupon of yours with this code."))


def _require_redemption_of(redemption_id: UUID, by: Any) -> None:
    mine = Q() if may_redeem_any(by) else Q(redeemed_by=by.pk)
    if not Redemption.objects.filter(mine, pk=redemption_id).exists():
        raise NotFound("unknown_redemption", _("There is no such redemption of yours."))


def _take(coupon: Coupon, order_amount: int) -> bool:
    """Mark the coupon as used where it is usable. Of two at once, one succeeds."""
    if _obstacle_of_account(coupon) or not discount_of(coupon, order_amount):
        return False
    now = timezone.now()
    usable = Coupon.objects.filter(
        pk=coupon.pk,
        status=CouponStatus.ISSUED,
        suspended_at__isnull=True,
        valid_from__lte=now,
        valid_until__gt=now,
        min_spend__lte=order_amount,
    )
    return usable.update(status=CouponStatus.REDEEMED) == 1


def _redeemed_before(coupon: Coupon, order_ref: str, order_amount: int) -> Redemption:
    """Return the redemption of the same order. Raises Refused where there is none."""
    applied = Redemption.objects.filter(coupon=coupon, rolled_back_at__isnull=True)
    redemption = applied.filter(order_ref=order_ref).select_related("coupon").first()
    if redemption is None:
        _refuse_undone(coupon, order_ref)
        raise _refusal(coupon, order_amount)
    if redemption.order_amount != order_amount:
        raise Refused("order_amount_differs", _sentence("order_amount_differs", coupon))
    return redemption


def _refusal(coupon: Coupon, order_amount: int) -> Refused:
    """Return why a coupon could not be taken."""
    coupon.refresh_from_db()
    # Used when it was asked for, and given back since: to the caller it was used.
    reason = _obstacle(coupon, order_amount, timezone.now()) or "redeemed"
    return Refused(reason, _sentence(reason, coupon))


def _record(coupon: Coupon, order_ref: str, order_amount: int, by: Any) -> Redemption:
    _refuse_undone(coupon, order_ref)  # after the coupon's row is locked: a rollback writes it too
    redemption = Redemption.objects.create(
        coupon=coupon,
        order_ref=order_ref,
        order_amount=order_amount,
        discount=discount_of(coupon, order_amount),
        currency=coupon.currency,
        redeemed_by=by,
    )
    _publish_redeemed(redemption)
    return redemption


def _refuse_undone(coupon: Coupon, order_ref: str) -> None:
    undone = coupon.redemptions.filter(order_ref=order_ref, rolled_back_at__isnull=False)
    if undone.exists():
        raise Refused("order_undone", _sentence("order_undone", coupon))


def _obstacle(coupon: Coupon, order_amount: int, now: datetime) -> str:
    """Return why a coupon can not be used for an order; empty where it can."""
    state = coupon_state(coupon, at=now)
    if state in {CouponState.USABLE, CouponState.UPCOMING}:
        state = _obstacle_of_account(coupon) or state
    if state != CouponState.USABLE:
        return state.value
    if order_amount < coupon.min_spend:
        return "min_spend"
    return "" if discount_of(coupon, order_amount) else "no_discount"


def _obstacle_of_account(coupon: Coupon) -> CouponState | None:
    """Return what the coupon is as good as, where its owner's status is ahead of the events."""
    status = accounts_by_id([coupon.user_id])[coupon.user_id].status
    return {"flagged": CouponState.SUSPENDED, "closed": CouponState.REVOKED}.get(status)


def _sentence(reason: str, coupon: Coupon) -> str:
    if reason == "min_spend":
        return _("This coupon is %(minimum)s.") % {"minimum": describe_minimum(coupon)}
    return str(SENTENCES[reason])


def _publish_redeemed(redemption: Redemption) -> None:
    coupon = redemption.coupon
    coupon_redeemed.publish(
        CouponRedeemed(
            redemption_id=redemption.pk,
            coupon_id=coupon.pk,
            campaign_id=coupon.campaign_id,
            user_id=coupon.user_id,
            order_amount=redemption.order_amount,
            discount=redemption.discount,
            currency=redemption.currency,
        )
    )


def _publish_rolled_back(coupon: Coupon, redemption: Redemption) -> None:
    coupon_redemption_rolled_back.publish(
        CouponRedemptionRolledBack(
            redemption_id=redemption.pk,
            coupon_id=coupon.pk,
            campaign_id=coupon.campaign_id,
            user_id=coupon.user_id,
        )
    )
