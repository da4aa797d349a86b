"""What is done about events by more than one app: the apps know nothing of each other."""

from accounts.signals import AccountClosed, account_closed
from api.idempotency import forget_answers
from coupons.signals import CouponRedemptionRolledBack, coupon_redemption_rolled_back
from events.envelope import Event
from events.receivers import background_receiver
from points.signals import PointsSpendRolledBack, points_spend_rolled_back
from project import checkouts
from project.models import ProcessedEvent
from project.signals import CheckoutRefused, CheckoutStarted, checkout_refused, checkout_started


@background_receiver(checkout_started, inbox=ProcessedEvent)
def spend_points(event: Event[CheckoutStarted]) -> None:
    """Spend the points of a checkout, or refuse it."""
    checkouts.pay(checkout_id=event.data.checkout_id)


@background_receiver(checkout_refused, inbox=ProcessedEvent)
def give_coupon_back(event: Event[CheckoutRefused]) -> None:
    """Roll back the redemption of a checkout whose points were refused."""
    checkouts.give_coupon_back(checkout_id=event.data.checkout_id)


@background_receiver(coupon_redemption_rolled_back, inbox=ProcessedEvent)
def undo_checkout_of_redemption(event: Event[CouponRedemptionRolledBack]) -> None:
    """Give the points of a completed checkout back when its coupon was."""
    checkouts.undo(redemption_id=event.data.redemption_id)


@background_receiver(points_spend_rolled_back, inbox=ProcessedEvent)
def undo_checkout_of_spending(event: Event[PointsSpendRolledBack]) -> None:
    """Give the coupon of a completed checkout back when its points were."""
    checkouts.undo(spending_id=event.data.spend_entry_id)


@background_receiver(account_closed, inbox=ProcessedEvent)
def forget_kept_answers(event: Event[AccountClosed]) -> None:
    """Delete the answers that are kept for repeated requests: they tell about the person."""
    forget_answers([event.data.user_id])
