"""Paying an order with a coupon and points: with both, or with neither.

Coupons and points know nothing of each other. The coupon is redeemed first; an event asks for the
points; where they are refused, an event rolls the redemption back. Each step is one transaction,
so a crash leaves a step that is done again, never half of one.
"""

from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

import codes
from accounts.models import User
from coupons import redeeming
from coupons.models import Redemption
from coupons.redemptions import ORDER_REF_LENGTH
from coupons.refusals import Refused as CouponRefused
from points import refusals, spending
from points.spending import RESERVED_PREFIX
from project.models import Checkout, CheckoutState
from project.signals import (
    CheckoutCompleted,
    CheckoutRefused,
    CheckoutStarted,
    CheckoutUndone,
    checkout_completed,
    checkout_refused,
    checkout_started,
    checkout_undone,
)

REDEMPTION_ROLLED_BACK = "redemption_rolled_back"
MAX_ORDER_REF_LENGTH = ORDER_REF_LENGTH - len(RESERVED_PREFIX)  # points shows it with the prefix

_SENTENCES = {
    **{refusal.code: refusal.sentence for refusal in refusals.Refused.__subclasses__()},
    REDEMPTION_ROLLED_BACK: gettext_lazy("The coupon was given back before the points were spent."),
}


class OrderDiffers(CouponRefused):
    """The order is paid by another checkout already."""

    def __init__(self) -> None:
        super().__init__(
            "order_differs", _("There is a checkout of this order with other terms already.")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is paid, and with what."""

    code: str
    order_ref: str
    order_amount: int  # minor units
    points: int


def start(*, terms: Terms, by: User) -> Checkout:
    """Redeem a coupon for an order, and ask for points of its owner; return the checkout.

    The same call again returns the same checkout, however it stands. A redemption that was made
    otherwise is never taken over. Raises coupons.refusals.Refused as `redeeming.redeem` does, and
    OrderDiffers.
    """
    if known := _known(terms):
        return known
    try:
        with transaction.atomic():
            return _new(terms, by)
    except (CouponRefused, IntegrityError):
        if known := _known(terms):  # the same call at the same time was faster
            return known
        raise


def pay(*, checkout_id: UUID) -> None:
    """Spend the points of a pending checkout, or refuse it. Call it in a transaction."""
    checkout = _lock(checkout_id)
    if checkout.state != CheckoutState.PENDING:
        return None
    # Locked: until the points are spent, nobody rolls the redemption back.
    redemption = Redemption.objects.select_for_update().get(pk=checkout.redemption_id)
    if redemption.rolled_back_at is not None:
        return _refuse(checkout, REDEMPTION_ROLLED_BACK)
    try:
        entry = spending.spend(
            user_id=checkout.user_id,
            amount=checkout.points,
            order_ref=f"{RESERVED_PREFIX}{checkout.order_ref}",
            actor_id=checkout.requested_by_id,
        )
    except refusals.Refused as refusal:
        return _refuse(checkout, refusal.code)
    checkout.state, checkout.spending = CheckoutState.COMPLETED, entry
    checkout.save(update_fields=["state", "spending"])
    checkout_completed.publish(CheckoutCompleted(checkout_id=checkout.pk, user_id=checkout.user_id))
    return None


def give_coupon_back(*, checkout_id: UUID) -> None:
    """Roll back the redemption of a refused checkout. Call it in a transaction."""
    checkout = Checkout.objects.select_related("requested_by").get(pk=checkout_id)
    redeeming.give_back(redemption_id=checkout.redemption_id, by=checkout.requested_by)


def undo(*, redemption_id: UUID | None = None, spending_id: UUID | None = None) -> None:
    """Roll back the other half of a completed checkout, one half of which was. Idempotent."""
    half = {"redemption": redemption_id} if redemption_id else {"spending": spending_id}
    found = Checkout.objects.filter(**half).first()
    if found is None:
        return
    checkout = _lock(found.pk)
    if checkout.state != CheckoutState.COMPLETED or checkout.spending_id is None:
        return
    redeeming.give_back(redemption_id=checkout.redemption_id, by=checkout.requested_by)
    spending.roll_back_spend(entry_id=checkout.spending_id, actor_id=checkout.requested_by_id)
    checkout.state = CheckoutState.UNDONE
    checkout.save(update_fields=["state"])
    checkout_undone.publish(CheckoutUndone(checkout_id=checkout.pk, user_id=checkout.user_id))


def explain_refusal(reason: str) -> str:
    """Return why a checkout with that reason was refused, as a sentence in the reader's language.

    A reason that this release does not know is returned as it is.
    """
    return str(_SENTENCES.get(reason, reason))


def _lock(checkout_id: UUID) -> Checkout:
    return (
        Checkout.objects.select_for_update(of=("self",))
        .select_related("requested_by")
        .get(pk=checkout_id)
    )


def _known(terms: Terms) -> Checkout | None:
    """Return the order's checkout. Raises OrderDiffers where that is on other terms."""
    checkout = (
        Checkout.objects.select_related("redemption__coupon")
        .filter(order_ref=terms.order_ref)
        .first()
    )
    if checkout is None:
        return None
    paid = checkout.redemption
    if (codes.normalize(terms.code), terms.order_amount, terms.points) != (
        paid.coupon.code,
        paid.order_amount,
        checkout.points,
    ):
        raise OrderDiffers
    return checkout


def _new(terms: Terms, by: User) -> Checkout:
    redemption = redeeming.redeem_anew(
        code=terms.code, order_ref=terms.order_ref, order_amount=terms.order_amount, by=by
    )
    checkout = Checkout.objects.create(
        order_ref=redemption.order_ref,
        user_id=redemption.coupon.user_id,
        redemption=redemption,
        points=terms.points,
        requested_by=by,
    )
    checkout_started.publish(CheckoutStarted(checkout_id=checkout.pk, user_id=checkout.user_id))
    return checkout


def _refuse(checkout: Checkout, reason: str) -> None:
    checkout.state, checkout.reason = CheckoutState.REFUSED, reason
    checkout.save(update_fields=["state", "reason"])
    checkout_refused.publish(
        CheckoutRefused(checkout_id=checkout.pk, user_id=checkout.user_id, reason=reason)
    )
