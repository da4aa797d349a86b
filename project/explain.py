"""What the project tells when somebody asks what happened to a user: checkouts and mails."""

from uuid import UUID

from events.operations.explain import Fact, Remark, Subject, Told, teller
from project.models import Checkout, CheckoutState, Mail

MAX_CHECKOUTS = 50  # of one person: the newest
MAX_MAILS = 50  # as above

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


@teller
def tell_mails(subject: Subject) -> Told:
    """Tell every mail to the person, and what became of it."""
    return Told(
        facts=[
            Fact(at=mail.created_at, text=_told(mail), event_id=mail.event_id)
            for mail in _mails(subject.key)
        ]
    )


def _told(mail: Mail) -> str:
    why = f" ({mail.reason})" if mail.reason else ""
    return f"project: the {mail.kind} mail was {mail.outcome}{why}"


def _mails(key: str) -> list[Mail]:
    try:
        return list(Mail.objects.filter(user=UUID(key)).order_by("-pk")[:MAX_MAILS])
    except ValueError:  # an event about something else
        return []
