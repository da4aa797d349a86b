"""What coupons tells when somebody asks what happened to a user."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from django.utils import timezone

from coupons.display import format_money
from coupons.models import Coupon, DecisionReason, IssueDecision, Outcome, Redemption
from coupons.queries import WELCOME_RECEIVER
from coupons.states import CouponState, coupon_state
from events.operations.explain import Fact, Remark, Subject, Told, teller

MAX_DECISIONS = 50  # of one person: the newest
MAX_REDEMPTIONS = 100

# What a reason means for the person, and what can be done.
SENTENCES = {
    DecisionReason.ACCOUNT_FLAGGED: "It is issued when the review of the account ends well.",
    DecisionReason.REFERRAL_FLAGGED: "It is issued when the invitation is approved.",
    DecisionReason.CAMPAIGN_PAUSED: "What is held is issued when the campaign is resumed; who "
    "registers during a pause gets none.",
    DecisionReason.CAMPAIGN_ENDED: "It was not issued before the campaign ended.",
    DecisionReason.NOT_INVITED: "Nobody invited the person.",
    DecisionReason.RETURNING_PERSON: "Coupons for newcomers are not for people who come back.",
    DecisionReason.SOLD_OUT: "Raise the stock, then “Retry sold-out”, to give them one after all.",
    DecisionReason.VALIDITY_OVER: "It would have been expired already.",
    DecisionReason.ACCOUNT_CLOSED: "A closed account keeps no unused coupon and gets none.",
    DecisionReason.REFERRAL_VOIDED: "A coupon for invited people goes with the invitation.",
}


@teller
def tell(subject: Subject) -> Told:
    """Tell every decision about the person, with the coupon or why there is none, and its use."""
    decisions = _decisions(subject.key)
    redemptions = _redemptions(decisions)
    remarks = [_remark(decision) for decision in decisions]
    if not decisions and WELCOME_RECEIVER in subject.done_receivers:
        remarks = [Remark(text="No coupon is owed: no campaign ran when the person registered.")]
    return Told(
        facts=[
            *(fact for decision in decisions for fact in _facts_of(decision)),
            *(fact for redemption in redemptions for fact in _facts_of_use(redemption)),
        ],
        remarks=remarks,
    )


def _decisions(key: str) -> list[IssueDecision]:
    try:
        decisions = IssueDecision.objects.filter(user=UUID(key))
    except ValueError:  # an event about something else
        return []
    return list(decisions.select_related("campaign", "coupon").order_by("-pk")[:MAX_DECISIONS])


def _redemptions(decisions: Sequence[IssueDecision]) -> list[Redemption]:
    coupons = [coupon.pk for decision in decisions if (coupon := _coupon_of(decision))]
    used = Redemption.objects.filter(coupon__in=coupons).select_related("coupon")
    return list(used.order_by("-pk")[:MAX_REDEMPTIONS]) if coupons else []


def _facts_of(decision: IssueDecision) -> Iterator[Fact]:
    """Yield what was decided, and what became of the coupon apart from its use."""
    coupon, campaign = _coupon_of(decision), f"campaign “{decision.campaign}”"
    reason = f": {decision.get_reason_display()}" if decision.reason else ""
    if coupon is not None:
        state = coupon_state(coupon, at=timezone.now())
        text = f"coupons: {campaign} issued coupon {_short(coupon)}, now {state.value}"
        yield Fact(at=coupon.issued_at, text=text, event_id=decision.event_id)
        if coupon.suspended_at is not None:
            yield Fact(at=coupon.suspended_at, text=f"coupons: {_short(coupon)} was suspended")
        if decision.outcome == Outcome.VOIDED:
            text = f"coupons: {_short(coupon)} was revoked{reason}"
            yield Fact(at=decision.decided_at, text=text)
    else:
        text = f"coupons: {campaign} decided: {decision.outcome}{reason}"
        yield Fact(at=decision.decided_at, text=text, event_id=decision.event_id)


def _facts_of_use(redemption: Redemption) -> Iterator[Fact]:
    coupon = _short(redemption.coupon)
    off = format_money(redemption.discount, redemption.currency).strip()
    text = f"coupons: {coupon} was redeemed for order {redemption.order_ref}: {off} off"
    yield Fact(at=redemption.created_at, text=text)
    if redemption.rolled_back_at is not None:
        text = f"coupons: its redemption for order {redemption.order_ref} was rolled back"
        yield Fact(at=redemption.rolled_back_at, text=text)


def _remark(decision: IssueDecision) -> Remark:
    coupon = _coupon_of(decision)
    campaign, reason = f"campaign “{decision.campaign}”", decision.get_reason_display()
    if coupon is not None:
        return Remark(text=_about(coupon, decision), event_id=decision.event_id)
    if decision.outcome == Outcome.ISSUED:
        return Remark(
            text=f"A coupon of {campaign} was decided on, but is not there.",
            do="`manage.py check_invariants` (I3) shows whether others are concerned.",
            is_broken=True,
            event_id=decision.event_id,
        )
    told = (
        f"A coupon of {campaign} is held back"
        if decision.outcome == Outcome.HELD
        else (f"No coupon is owed by {campaign}")
    )
    sentence = SENTENCES[DecisionReason(decision.reason)]
    return Remark(text=f"{told}: {reason}. {sentence}", event_id=decision.event_id)


def _about(coupon: Coupon, decision: IssueDecision) -> str:
    state = coupon_state(coupon, at=timezone.now())
    text = f"There is a coupon of campaign “{decision.campaign}”: {_short(coupon)}, {state.value}."
    if state == CouponState.SUSPENDED:
        return f"{text} It can be used again when the review of the account ends well."
    if decision.reason:
        sentence = SENTENCES[DecisionReason(decision.reason)]
        return f"{text} It was taken back: {decision.get_reason_display()}. {sentence}"
    return text


def _short(coupon: Coupon) -> str:
    return f"…{coupon.code[-4:]}"


def _coupon_of(decision: IssueDecision) -> Coupon | None:
    return getattr(decision, "coupon", None)  # its absence is an AttributeError too
