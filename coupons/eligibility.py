"""Whether a campaign owes a person a coupon. Stock is not its concern.

`coupons.rules` has what is asked; `coupons.simulating` tells it one by one.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from accounts.queries import accounts_by_id, referrals_by_invitee
from accounts.signals import UserRegistered
from coupons.campaigns import OVER, Campaign
from coupons.rules import (
    BY_STAFF,
    ISSUE,
    ON_REGISTRATION,
    ON_WHAT_WAITED,
    STANDING,
    Case,
    NotRunning,
    Person,
    Verdict,
)
from coupons.states import EffectiveStatus, effective_status
from events.envelope import Event
from rulebook import decide

__all__ = ["Person", "Verdict"]


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
    at, was_invited = registration.occurred_at, registration.data.inviter_id is not None
    case = case_of_registration(campaign, person, now, at=at, was_invited=was_invited)
    verdict = decide(ON_REGISTRATION, case) or ISSUE
    return None if isinstance(verdict, NotRunning) else verdict


def judge_again(campaign: Campaign, person: Person, now: datetime) -> Verdict:
    """Return the verdict on what was held back, or refused for want of stock.

    Other than of a registration that is merely delivered late, a campaign that staff ended issues
    none of it. What is held when only its time runs out stays owed.
    """
    case = _case(campaign, person, now, is_settled=campaign.status in OVER)
    return decide(ON_WHAT_WAITED, case) or ISSUE


def judge_manual(campaign: Campaign, person: Person, now: datetime) -> Verdict:
    """Return the verdict on a person whom staff want to give a coupon.

    A list that is worked off beyond the campaign's end gives the rest of it none.
    """
    return decide(BY_STAFF, case_by_staff(campaign, person, now)) or ISSUE


def judge_standing(campaign: Campaign, person: Person) -> Verdict | None:
    """Return what the state of an account and its referral means for the campaign's coupons.

    None: nothing speaks against them. A coupon that was issued before is suspended where this says
    held, and revoked where it says voided.
    """
    return decide(STANDING, _case(campaign, person, timezone.now(), is_settled=False))


def case_of_registration(
    campaign: Campaign, person: Person, now: datetime, *, at: datetime, was_invited: bool
) -> Case:
    """Return what ON_REGISTRATION is asked about."""
    return Case(
        campaign=campaign,
        person=person,
        now=now,
        registered_at=at,
        was_invited=was_invited,
        is_settled=campaign.status in OVER,
    )


def case_by_staff(campaign: Campaign, person: Person, now: datetime) -> Case:
    """Return what BY_STAFF is asked about."""
    is_over = effective_status(campaign, at=now) in {
        EffectiveStatus.ENDED,
        EffectiveStatus.ARCHIVED,
    }
    return _case(campaign, person, now, is_settled=is_over)


def _case(campaign: Campaign, person: Person, now: datetime, *, is_settled: bool) -> Case:
    return Case(
        campaign=campaign,
        person=person,
        now=now,
        registered_at=now,
        was_invited=person.referral is not None,
        is_settled=is_settled,
    )
