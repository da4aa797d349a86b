"""What coupons tells when somebody asks what happened to a user."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from coupons.display import format_money
from coupons.models import Coupon, DecisionReason, IssueDecision, Outcome, Redemption
from coupons.queries import WELCOME_RECEIVER
from coupons.states import CouponState, coupon_state
from events.operations.story import Fact, Remark, Subject, Told
from events.operations.tellers import teller
from events.operations.wording import joined

MAX_DECISIONS = 50  # of one person: the newest
MAX_REDEMPTIONS = 100

# What a reason means for the person, and what can be done.
SENTENCES = {
    DecisionReason.ACCOUNT_FLAGGED: gettext_lazy(
        "It is issued when the review of the account ends well."
    ),
    DecisionReason.REFERRAL_FLAGGED: gettext_lazy("It is issued when the invitation is approved."),
    DecisionReason.CAMPAIGN_PAUSED: gettext_lazy(
        "What is held is issued when the campaign is resumed; who registers during a pause gets "
        "none."
    ),
    DecisionReason.CAMPAIGN_ENDED: gettext_lazy("It was not issued before the campaign ended."),
    DecisionReason.NOT_INVITED: gettext_lazy("Nobody invited the person."),
    DecisionReason.RETURNING_PERSON: gettext_lazy(
        "Coupons for newcomers are not for people who come back."
    ),
    DecisionReason.SOLD_OUT: gettext_lazy(
        "Raise the stock, then “Retry sold-out”, to give them one after all."
    ),
    DecisionReason.VALIDITY_OVER: gettext_lazy("It would have been expired already."),
    DecisionReason.ACCOUNT_CLOSED: gettext_lazy(
        "A closed account keeps no unused coupon and gets none."
    ),
    DecisionReason.REFERRAL_VOIDED: gettext_lazy(
        "A coupon for invited people goes with the invitation."
    ),
}


@teller
def tell(subject: Subject) -> Told:
    """Tell every decision about the person, with the coupon or why there is none, and its use."""
    decisions = _decisions(subject.key)
    redemptions = _redemptions(decisions)
    remarks = [_remark(decision) for decision in decisions]
    if not decisions and WELCOME_RECEIVER in subject.done_receivers:
        text = _("No coupon is owed: no campaign ran when the person registered.")
        remarks = [Remark(text=text)]
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
    coupon = _coupon_of(decision)
    if coupon is None:
        yield _refused(decision)
        return
    told = {
        "campaign": decision.campaign,
        "coupon": _short(coupon),
        "state": coupon_state(coupon, at=timezone.now()).label,
        "reason": decision.get_reason_display(),
    }
    text = _("campaign “%(campaign)s” issued coupon %(coupon)s, now %(state)s") % told
    yield _fact(coupon.issued_at, text, event_id=decision.event_id)
    if coupon.suspended_at is not None:
        yield _fact(coupon.suspended_at, _("%(coupon)s was suspended") % told)
    if decision.outcome == Outcome.VOIDED:
        yield _fact(decision.decided_at, _("%(coupon)s was revoked: %(reason)s") % told)


def _refused(decision: IssueDecision) -> Fact:
    """Tell a decision that brought no coupon."""
    outcome: str = decision.get_outcome_display()
    text = _("campaign “%(campaign)s” decided: %(outcome)s") % {
        "campaign": decision.campaign,
        "outcome": f"{outcome}: {decision.get_reason_display()}" if decision.reason else outcome,
    }
    return _fact(decision.decided_at, text, event_id=decision.event_id)


def _facts_of_use(redemption: Redemption) -> Iterator[Fact]:
    told = {
        "coupon": _short(redemption.coupon),
        "order": redemption.order_ref,
        "amount": format_money(redemption.discount, redemption.currency).strip(),
    }
    text = _("%(coupon)s was redeemed for order %(order)s: %(amount)s off") % told
    yield _fact(redemption.created_at, text)
    if redemption.rolled_back_at is not None:
        text = _("its redemption for order %(order)s was rolled back") % told
        yield _fact(redemption.rolled_back_at, text)


def _fact(at: datetime, text: str, *, event_id: UUID | None = None) -> Fact:
    return Fact(at=at, text=f"coupons: {text}", event_id=event_id)


def _remark(decision: IssueDecision) -> Remark:
    coupon = _coupon_of(decision)
    told = {"campaign": decision.campaign, "reason": decision.get_reason_display()}
    if coupon is not None:
        return Remark(text=_about(coupon, decision), event_id=decision.event_id)
    if decision.outcome == Outcome.ISSUED:
        return Remark(
            text=_("A coupon of campaign “%(campaign)s” was decided on, but is not there.") % told,
            do=_("%(command)s shows whether others are concerned.")
            % {"command": "`manage.py check_invariants` (I3)"},
            is_broken=True,
            event_id=decision.event_id,
        )
    text = (
        _("A coupon of campaign “%(campaign)s” is held back: %(reason)s.")
        if decision.outcome == Outcome.HELD
        else _("No coupon is owed by campaign “%(campaign)s”: %(reason)s.")
    ) % told
    sentence = SENTENCES[DecisionReason(decision.reason)]
    return Remark(text=joined(text, str(sentence)), event_id=decision.event_id)


def _about(coupon: Coupon, decision: IssueDecision) -> str:
    state = coupon_state(coupon, at=timezone.now())
    told = {"campaign": decision.campaign, "coupon": _short(coupon), "state": state.label}
    text = _("There is a coupon of campaign “%(campaign)s”: %(coupon)s, %(state)s.") % told
    if state == CouponState.SUSPENDED:
        more = _("It can be used again when the review of the account ends well.")
        return joined(text, more)
    if decision.reason:
        reason = {"reason": decision.get_reason_display()}
        taken_back = _("It was taken back: %(reason)s.") % reason
        return joined(text, taken_back, str(SENTENCES[DecisionReason(decision.reason)]))
    return text


def _short(coupon: Coupon) -> str:
    return f"…{coupon.code[-4:]}"


def _coupon_of(decision: IssueDecision) -> Coupon | None:
    return getattr(decision, "coupon", None)  # its absence is an AttributeError too
