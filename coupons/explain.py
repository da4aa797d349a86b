"""What coupons tells when somebody asks what happened to a user."""

from uuid import UUID

from django.utils import timezone

from coupons.models import Coupon, IssueDecision, Outcome
from coupons.queries import WELCOME_RECEIVER
from coupons.states import coupon_state
from events.operations.explain import Fact, Remark, Subject, Told, teller

MAX_DECISIONS = 50  # of one person: the newest


@teller
def tell(subject: Subject) -> Told:
    """Tell every decision about the person, with the coupon or why there is none."""
    decisions = _decisions(subject.key)
    remarks = [_remark(decision) for decision in decisions]
    if not decisions and WELCOME_RECEIVER in subject.done_receivers:
        remarks = [Remark(text="No coupon is owed: no campaign ran when the person registered.")]
    return Told(
        facts=[
            Fact(at=d.decided_at, text=f"coupons: {_outcome(d)}", event_id=d.event_id)
            for d in decisions
        ],
        remarks=remarks,
    )


def _decisions(key: str) -> list[IssueDecision]:
    try:
        decisions = IssueDecision.objects.filter(user=UUID(key))
    except ValueError:  # an event about something else
        return []
    return list(decisions.select_related("campaign", "coupon").order_by("-pk")[:MAX_DECISIONS])


def _outcome(decision: IssueDecision) -> str:
    coupon = _coupon_of(decision)
    if coupon is None:
        reason = f": {decision.get_reason_display()}" if decision.reason else ""
        return f"campaign “{decision.campaign}” decided: {decision.outcome}{reason}"
    state = coupon_state(coupon, at=timezone.now())
    return f"campaign “{decision.campaign}” issued coupon …{coupon.code[-4:]}, now {state.value}"


def _remark(decision: IssueDecision) -> Remark:
    coupon = _coupon_of(decision)
    campaign, reason = f"campaign “{decision.campaign}”", decision.get_reason_display()
    if coupon is not None:
        state = coupon_state(coupon, at=timezone.now())
        text = f"There is a coupon of {campaign}: …{coupon.code[-4:]}, {state.value}."
    elif decision.outcome == Outcome.ISSUED:
        return Remark(
            text=f"A coupon of {campaign} was decided on, but is not there.",
            do="`manage.py check_invariants` (I3) shows whether others are concerned.",
            is_broken=True,
            event_id=decision.event_id,
        )
    elif decision.outcome == Outcome.HELD:
        text = f"A coupon of {campaign} is held back: {reason}."
    else:
        text = f"No coupon is owed by {campaign}: {reason}."
    return Remark(text=text, event_id=decision.event_id)


def _coupon_of(decision: IssueDecision) -> Coupon | None:
    return getattr(decision, "coupon", None)  # its absence is an AttributeError too
