"""Whether a campaign owes a new account a coupon. Stock is not its concern."""

from dataclasses import dataclass
from datetime import datetime

from accounts.queries import AccountSummary
from accounts.signals import UserRegistered
from coupons.campaigns import Audience, Campaign, CampaignStatus
from coupons.models import DecisionReason, Outcome
from coupons.states import EffectiveStatus, effective_status
from events.envelope import Event


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with its reason, which is empty for a coupon to be issued."""

    outcome: Outcome
    reason: DecisionReason | str = ""


ISSUE = Verdict(Outcome.ISSUED)


def judge_registration(
    campaign: Campaign, registration: Event[UserRegistered], account: AccountSummary, now: datetime
) -> Verdict | None:
    """Return the verdict on a new account, or None where the campaign did not run at that time.

    The campaign is judged as it was when the person registered, the account as it is now.
    """
    at = registration.occurred_at
    then = effective_status(campaign, at=at, status=campaign.status_at(at))
    if not campaign.covers(at) or then in _NOT_RUNNING:
        return None
    if then == EffectiveStatus.PAUSED:
        return Verdict(Outcome.SKIPPED, DecisionReason.CAMPAIGN_PAUSED)
    if campaign.audience == Audience.INVITED and registration.data.inviter_id is None:
        return Verdict(Outcome.SKIPPED, DecisionReason.NOT_INVITED)
    return _judge_account(account) or _judge_present(campaign, now) or ISSUE


# A sold-out campaign runs: the stock is taken, or found used up, when the coupon is issued.
_NOT_RUNNING = {
    EffectiveStatus.DRAFT,
    EffectiveStatus.SCHEDULED,
    EffectiveStatus.ENDED,
    EffectiveStatus.ARCHIVED,
}


def _judge_account(account: AccountSummary) -> Verdict | None:
    if account.status == "closed":
        return Verdict(Outcome.VOIDED, DecisionReason.ACCOUNT_CLOSED)
    if account.status == "flagged":
        return Verdict(Outcome.HELD, DecisionReason.ACCOUNT_FLAGGED)
    return None


def _judge_present(campaign: Campaign, now: datetime) -> Verdict | None:
    if campaign.valid_until is not None and campaign.valid_until <= now:
        return Verdict(Outcome.SKIPPED, DecisionReason.VALIDITY_OVER)
    if campaign.status == CampaignStatus.PAUSED:
        # Pausing is a brake that must hold for the backlog too; the coupon stays owed.
        return Verdict(Outcome.HELD, DecisionReason.CAMPAIGN_PAUSED)
    return None
