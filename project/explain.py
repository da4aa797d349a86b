"""What the project tells when somebody asks what happened to a user: checkouts and mails."""

from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from events.operations.story import Fact, Remark, Subject, Told
from events.operations.tellers import teller
from project.models import Checkout, CheckoutState, Mail

MAX_CHECKOUTS = 50  # of one person: the newest
MAX_MAILS = 50  # as above

_REMARKS = {
    CheckoutState.PENDING: gettext_lazy(
        "Order %(order)s: the coupon is redeemed, the points are to be spent."
    ),
    CheckoutState.COMPLETED: gettext_lazy(
        "Order %(order)s is paid with a coupon and %(points)d points."
    ),
    CheckoutState.REFUSED: gettext_lazy(
        "Order %(order)s was refused (%(reason)s): the coupon is given back."
    ),
    CheckoutState.UNDONE: gettext_lazy(
        "Order %(order)s was undone: the coupon and %(points)d points are back."
    ),
}


@teller
def tell(subject: Subject) -> Told:
    """Tell every checkout of the person, and what came of it."""
    checkouts = _checkouts(subject.key)
    return Told(
        facts=[Fact(at=each.created_at, text=_started(each)) for each in checkouts],
        remarks=[Remark(text=_how_it_stands(each)) for each in checkouts],
    )


def _started(checkout: Checkout) -> str:
    text = _("checkout of order %(order)s was started") % {"order": checkout.order_ref}
    return f"project: {text}"


def _how_it_stands(checkout: Checkout) -> str:
    return str(_REMARKS[CheckoutState(checkout.state)]) % {
        "order": checkout.order_ref,
        "points": checkout.points,
        "reason": checkout.reason,
    }


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
    outcome: str = mail.get_outcome_display()
    text = _("the %(kind)s mail was %(outcome)s") % {
        "kind": mail.get_kind_display(),
        "outcome": f"{outcome} ({mail.reason})" if mail.reason else outcome,
    }
    return f"project: {text}"


def _mails(key: str) -> list[Mail]:
    try:
        return list(Mail.objects.filter(user=UUID(key)).order_by("-pk")[:MAX_MAILS])
    except ValueError:  # an event about something else
        return []
