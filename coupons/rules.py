"""What is asked before a campaign owes a person a coupon, in the order in which it is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from django.utils.translation import gettext_lazy as _

from accounts.queries import AccountSummary, ReferralSummary
from coupons.campaigns import Audience, Campaign, CampaignStatus, Trigger
from coupons.models import DecisionReason, Outcome
from coupons.states import EffectiveStatus, effective_status
from rulebook import Rule


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with its reason, which is empty for a coupon to be issued."""

    outcome: Outcome
    reason: DecisionReason | str = ""


@dataclass(frozen=True, slots=True)
class NotRunning:
    """The campaign did not run when the person registered: nothing is decided."""

    status: EffectiveStatus


@dataclass(frozen=True, slots=True)
class Person:
    """What accounts says of a person now."""

    account: AccountSummary
    referral: ReferralSummary | None = None  # None: nobody invited them


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A person before a campaign, and the moments by which both are judged."""

    campaign: Campaign
    person: Person
    now: datetime
    registered_at: datetime
    was_invited: bool
    is_settled: bool  # nobody would look at it again, so that nothing may be held back


CouponRule: TypeAlias = Rule[Case, Verdict]

ISSUE = Verdict(Outcome.ISSUED)
ENDED = Verdict(Outcome.SKIPPED, DecisionReason.CAMPAIGN_ENDED)

# A sold-out campaign runs: the stock is taken, or found used up, when the coupon is issued.
_NOT_RUNNING = {
    EffectiveStatus.DRAFT,
    EffectiveStatus.SCHEDULED,
    EffectiveStatus.ENDED,
    EffectiveStatus.ARCHIVED,
}


def _unless(
    forbids: Callable[[Case], bool], outcome: Outcome, reason: DecisionReason
) -> Callable[[Case], Verdict | None]:
    """Return a question whose verdict is this where something forbids the coupon.

    What would be held back is refused where the campaign is over and nobody looks at it again.
    """

    def ask(case: Case) -> Verdict | None:
        if not forbids(case):
            return None
        return ENDED if outcome == Outcome.HELD and case.is_settled else Verdict(outcome, reason)

    return ask


def _not_running(case: Case) -> NotRunning | None:
    status = _status_then(case)
    if status in _NOT_RUNNING:
        return NotRunning(status)
    if case.campaign.covers(case.registered_at):
        return None
    # Only a pause hides that the time had not come.
    return NotRunning(EffectiveStatus.SCHEDULED)


def _status_then(case: Case) -> EffectiveStatus:
    campaign, at = case.campaign, case.registered_at
    return effective_status(campaign, at=at, status=campaign.status_at(at))


def _was_paused(case: Case) -> bool:
    return _status_then(case) == EffectiveStatus.PAUSED


def _is_not_invited(case: Case) -> bool:
    return case.campaign.audience == Audience.INVITED and not case.was_invited


def _is_closed(case: Case) -> bool:
    return case.person.account.status == "closed"


def _is_flagged(case: Case) -> bool:
    return case.person.account.status == "flagged"


def _is_returning(case: Case) -> bool:
    return case.person.account.is_returning and case.campaign.trigger == Trigger.REGISTRATION


def _has_void_referral(case: Case) -> bool:
    return _referral_that_matters(case) == "voided"


def _has_flagged_referral(case: Case) -> bool:
    return _referral_that_matters(case) == "flagged"


def _referral_that_matters(case: Case) -> str:
    """Return the status of the referral that the campaign rewards, or an empty string."""
    if case.campaign.audience != Audience.INVITED or case.person.referral is None:
        return ""
    return case.person.referral.status


def _would_be_expired(case: Case) -> bool:
    return case.campaign.valid_until is not None and case.campaign.valid_until <= case.now


def _is_paused(case: Case) -> bool:
    # Pausing is a brake that must hold for the backlog too; the coupon stays owed.
    return case.campaign.status == CampaignStatus.PAUSED


def _is_settled(case: Case) -> Verdict | None:
    return ENDED if case.is_settled else None


INVITED: CouponRule = Rule(
    "invited",
    _("The campaign is for everyone, or the person was invited."),
    _unless(_is_not_invited, Outcome.SKIPPED, DecisionReason.NOT_INVITED),
)
NOT_OVER: CouponRule = Rule("not_over", _("The campaign is not over."), _is_settled)

# What the state of an account and its referral means for the campaign's coupons.
STANDING: tuple[CouponRule, ...] = (
    Rule(
        "account_open",
        _("The account is open."),
        _unless(_is_closed, Outcome.VOIDED, DecisionReason.ACCOUNT_CLOSED),
    ),
    Rule(
        "invitation_counts",
        _("The invitation counts, or the campaign does not ask for one."),
        _unless(_has_void_referral, Outcome.VOIDED, DecisionReason.REFERRAL_VOIDED),
    ),
    Rule(
        "account_cleared",
        _("The account is not under review."),
        _unless(_is_flagged, Outcome.HELD, DecisionReason.ACCOUNT_FLAGGED),
    ),
    Rule(
        "invitation_cleared",
        _("The invitation is not under review, or the campaign does not ask for one."),
        _unless(_has_flagged_referral, Outcome.HELD, DecisionReason.REFERRAL_FLAGGED),
    ),
    Rule(
        "newcomer",
        _("The person had no account before, or the campaign is not for newcomers."),
        _unless(_is_returning, Outcome.SKIPPED, DecisionReason.RETURNING_PERSON),
    ),
)
_NOW: tuple[CouponRule, ...] = (
    *STANDING,
    Rule(
        "still_valid",
        _("Its coupons would not be expired already."),
        _unless(_would_be_expired, Outcome.SKIPPED, DecisionReason.VALIDITY_OVER),
    ),
    Rule(
        "not_paused",
        _("The campaign is not paused."),
        _unless(_is_paused, Outcome.HELD, DecisionReason.CAMPAIGN_PAUSED),
    ),
)

ON_REGISTRATION: tuple[Rule[Case, Verdict | NotRunning], ...] = (
    Rule("running", _("The campaign ran when the person registered."), _not_running),
    Rule(
        "not_paused_then",
        _("It was not paused when the person registered."),
        _unless(_was_paused, Outcome.SKIPPED, DecisionReason.CAMPAIGN_PAUSED),
    ),
    INVITED,
    *_NOW,
)
ON_WHAT_WAITED: tuple[CouponRule, ...] = (*_NOW, NOT_OVER)
BY_STAFF: tuple[CouponRule, ...] = (INVITED, *_NOW, NOT_OVER)
