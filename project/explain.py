"""What the project tells when somebody asks what happened to a user: their checkouts."""

from uuid import UUID

from events.operations.explain import Fact, Remark, Subject, Told, teller
from project.models import Checkout, CheckoutState

MAX_CHECKOUTS = 50  # of one person: the newest

_REMARKS = {
    CheckoutState.PENDING: "Order {order}: the coupon is redeemed, the points are to be spent.",
    CheckoutState.COMPLETED: "Order {order} is paid with a coupon and {points} points.",
    CheckoutState.REFUSED: "Order {order} was refused ({reason}): the coupon is given back.",
    CheckoutState.UNDONE: "Order {order} was undone: the coupon and {points} points are back.",
}


@teller
def tell(subject: Subject) -> Told:
    """Tell every checkout of the person, and what came of it."""
    checkouts = _checkouts(subject.key)
    return Told(
        facts=[
            Fact(
                at=each.created_at, text=f"project: checkout of order {each.order_ref} was started"
            )
            for each in checkouts
        ],
        remarks=[
            Remark(
                text=_REMARKS[CheckoutState(each.state)].format(
                    order=each.order_ref, points=each.points, reason=each.reason
                )
            )
            for each in checkouts
        ],
    )


def _checkouts(key: str) -> list[Checkout]:
    try:
        return list(Checkout.objects.filter(user=UUID(key)).order_by("-pk")[:MAX_CHECKOUTS])
    except ValueError:  # an event about something else
        return []
