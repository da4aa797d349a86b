"""Whether a campaign owes a person a coupon. Stock is not its concern."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accounts.queries import (
    AccountSummary,
    ReferralSummary,
    accounts_by_id,
    referrals_by_invitee,
)
from accounts.signals import UserRegistered
from coupons.campaigns import OVER, Audience, Campaign, CampaignStatus, Trigger
from coupons.models import DecisionReason, Outcome
from coupons.states import EffectiveStatus, effective_status
from events.envelope import Event


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with its reason, which is empty for a coupon to be issued."""

    outcome: Outcome
    reason: DecisionReason | str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """What accounts says of a person now."""

    account: AccountSummary
    referral: ReferralSummary | None = None  # None: nobody invited them


ISSUE = Verdict(Outcome.ISSUED)
ENDED = Verdict(Outcome.SKIPPED, DecisionReason.CAMPAIGN_ENDED)
NOT_INVITED = Verdict(Outcome.SKIPPED, DecisionReason.NOT_INVITED)


def people_by_id(user_ids: Iterable[UUID]) -> dict[UUID, Person]:
    """Return those of the people who exist, in two queries.

    Read them after locking the campaigns: see services.decide_registration_campaigns.
    """
    wanted = list(user_ids)
    referrals = referrals_by_invitee(wanted)
    return {
        user_id: Person(account, referrals.get(user_id))
        for user_id, account in accounts_by_id(wanted).items()
    }


def judge_registration(
    campaign: Campaign, registration: Event[UserRegistered], person: Person, now: datetime
) -> Verdict | None:
    """Return the verdict on a new account, or None where the campaign did not run at that time.

    The campaign is judged as it was when the person registered, the person as they are now.
    """
    at = registration.occurred_at
    then = effective_status(campaign, at=at, status=campaign.status_at(at))
    if not campaign.covers(at) or then in _NOT_RUNNING:
        return None
    if then == EffectiveStatus.PAUSED:
        return Verdict(Outcome.SKIPPED, DecisionReason.CAMPAIGN_PAUSED)
    if campaign.audience == Audience.INVITED and registration.data.inviter_id is None:
        return NOT_INVITED
    verdict = _judge_now(campaign, person, now)
    # Nobody would look at it again: what an ended campaign held is settled.
    return ENDED if verdict.outcome == Outcome.HELD and campaign.status in OVER else verdict


def judge_again(campaign: Campaign, person: Person, now: datetime) -> Verdict:
    """Return the verdict on what was held back, or refused for want of stock.

    Other than of a registration that is merely delivered late, a campaign that staff ended issues
    none of it. What is held when only its time runs out stays owed.
    """
    verdict = _judge_now(campaign, person, now)
    return ENDED if _is_open(verdict) and campaign.status in OVER else verdict


def judge_manual(campaign: Campaign, person: Person, now: datetime) -> Verdict:
    """Return the verdict on a person whom staff want to give a coupon.

    A list that is worked off beyond the campaign's end gives the rest of it none.
    """
    if campaign.audience == Audience.INVITED and person.referral is None:
        return NOT_INVITED
    verdict = judge_again(campaign, person, now)
    return ENDED if _is_open(verdict) and _is_over(campaign, now) else verdict


def judge_standing(campaign: Campaign, person: Person) -> Verdict | None:
    """Return what the state of an account and its referral means for the campaign's coupons.

    None: nothing speaks against them. A coupon that was issued before is suspended where this says
    held, and revoked where it says voided.
    """
    account, referral = person.account, _referral_that_matters(campaign, person)
    if account.status == "closed":
        return Verdict(Outcome.VOIDED, DecisionReason.ACCOUNT_CLOSED)
    if referral == "voided":
        return Verdict(Outcome.VOIDED, DecisionReason.REFERRAL_VOIDED)
    if account.status == "flagged":
        return Verdict(Outcome.HELD, DecisionReason.ACCOUNT_FLAGGED)
    if referral == "flagged":
        return Verdict(Outcome.HELD, DecisionReason.REFERRAL_FLAGGED)
    if account.is_returning and campaign.trigger == Trigger.REGISTRATION:
        return Verdict(Outcome.SKIPPED, DecisionReason.RETURNING_PERSON)
    return None


# A sold-out campaign runs: the stock is taken, or found used up, when the coupon is issued.
_NOT_RUNNING = {
    EffectiveStatus.DRAFT,
    EffectiveStatus.SCHEDULED,
    EffectiveStatus.ENDED,
    EffectiveStatus.ARCHIVED,
}


def _is_open(verdict: Verdict) -> bool:
    return verdict.outcome in {Outcome.ISSUED, Outcome.HELD}


def _is_over(campaign: Campaign, now: datetime) -> bool:
    return effective_status(campaign, at=now) in {EffectiveStatus.ENDED, EffectiveStatus.ARCHIVED}


def _judge_now(campaign: Campaign, person: Person, now: datetime) -> Verdict:
    return judge_standing(campaign, person) or _judge_present(campaign, now) or ISSUE


def _referral_that_matters(campaign: Campaign, person: Person) -> str:
    """Return the status of the referral that the campaign rewards, or an empty string."""
    if campaign.audience != Audience.INVITED or person.referral is None:
        return ""
    return person.referral.status


def _judge_present(campaign: Campaign, now: datetime) -> Verdict | None:
    if campaign.valid_until is not None and campaign.valid_until <= now:
        return Verdict(Outcome.SKIPPED, DecisionReason.VALIDITY_OVER)
    if campaign.status == CampaignStatus.PAUSED:
        # Pausing is a brake that must hold for the backlog too; the coupon stays owed.
        return Verdict(Outcome.HELD, DecisionReason.CAMPAIGN_PAUSED)
    return None
