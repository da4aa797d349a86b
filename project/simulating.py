"""What would somebody get, and why not? Campaigns and the inviter's reward, without any write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.queries import (
    AccountSummary,
    accounts_by_id,
    id_by_referral_code,
    referrals_by_invitee,
    registration_of,
)
from coupons.queries import owner_of
from coupons.simulating import Moment, outlooks
from coupons.simulating import Outlook as CouponOutlook
from events.operations.story import UnknownSubject
from events.operations.tellers import find_person
from points.simulating import Outlook as RewardOutlook
from points.simulating import outlook
from project.read_only import reading_only
from rulebook import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What would be decided about a person who registered, or is taken to register, at a moment."""

    account: AccountSummary
    at: datetime
    afresh: bool  # as if the person registered now, for the first time
    coupons: Sequence[CouponOutlook]
    are_more: bool  # campaigns, which were not asked
    reward: RewardOutlook  # of whoever invited them


def find_account(wanted: str, *, by_address: bool = True) -> UUID | None:
    """Return whose e-mail address, account id, referral code or coupon code this is, or None.

    Former addresses lead to anonymised accounts: `by_address` is for those who may see accounts.
    """
    wanted = wanted.strip()
    if "@" in wanted and not by_address:
        return None
    if "@" in wanted:
        try:
            return UUID(find_person(wanted).key)
        except UnknownSubject:
            return None
    try:
        return next(iter(accounts_by_id([UUID(wanted)])), None)
    except ValueError:
        return id_by_referral_code(wanted) or owner_of(wanted)


def simulate(
    user_id: UUID, *, campaign_id: UUID | None = None, afresh: bool = False
) -> Simulation | None:
    """Return what would be decided if the person's registration were delivered now.

    `afresh` takes the person to register now, for the first time; so is whoever has not registered
    yet. Without a campaign, all are asked that run, or ran at that moment. Nothing is written: see
    `reading_only`. None: there is no such account.
    """
    with reading_only():
        account = accounts_by_id([user_id]).get(user_id)
        if account is None:
            return None
        registration = registration_of(user_id)
        afresh = afresh or registration is None
        at = timezone.now() if afresh or registration is None else registration.occurred_at
        inviter_id = registration.inviter_id if registration else _inviter_of(user_id)
        moment = Moment(at=at, was_invited=inviter_id is not None, afresh=afresh)
        coupons, are_more = outlooks(user_id=user_id, moment=moment, campaign_id=campaign_id)
        return Simulation(
            account=account,
            at=at,
            afresh=afresh,
            coupons=coupons,
            are_more=are_more,
            reward=outlook(invitee_id=user_id, inviter_id=inviter_id, at=at, afresh=afresh),
        )


def document_of(simulation: Simulation) -> dict[str, Any]:
    """Return a simulation as JSON types, ids and times. It names no address."""
    reward = simulation.reward
    return {
        "user": simulation.account.id,
        "status": simulation.account.status,
        "registered_at": simulation.account.registered_at,
        "judged_at": simulation.at,
        "afresh": simulation.afresh,
        "campaigns": [_coupon(each) for each in simulation.coupons],
        "more_campaigns": simulation.are_more,
        "reward": {
            "inviter": reward.inviter_id,
            "points": reward.points,
            "due_at": reward.due_at,
            **_answer(reward),
        },
    }


def coupon_in_words(each: CouponOutlook) -> str:
    """Return in a sentence what a campaign would decide."""
    match each.outcome:
        case "issued":
            return _("A coupon would be issued.")
        case "held":
            text = _("A coupon would be held back: %(reason)s.")
        case "nothing":
            text = _("Nothing would be decided: %(reason)s.")
        case "decided":
            return _decided_in_words(each)
        case _:
            text = _("No coupon would be issued: %(reason)s.")
    return text % {"reason": str(each.sentence).rstrip(".")}


def reward_in_words(each: RewardOutlook) -> str:
    """Return in a sentence what would be decided about the inviter's reward."""
    match each.outcome:
        case "granted":
            return _("The inviter would get %(points)d points.") % {"points": each.points}
        case "pending":
            text = _("The inviter's %(points)d points would wait: %(reason)s.")
        case "nothing":
            text = _("Nothing would be decided: %(reason)s.")
        case "decided":
            return _decided_in_words(each)
        case _:
            text = _("The inviter would get no points: %(reason)s.")
    return text % {"points": each.points, "reason": each.sentence}


def _decided_in_words(each: CouponOutlook | RewardOutlook) -> str:
    outcome = each.decision.get_outcome_display() if each.decision else ""
    if not each.reason:
        return _("Decided before: %(outcome)s.") % {"outcome": outcome}
    text = _("Decided before: %(outcome)s, as %(reason)s.")
    return text % {"outcome": outcome, "reason": each.sentence}


def _inviter_of(user_id: UUID) -> UUID | None:
    """Return whom the registration will name, of somebody who has not completed it."""
    referral = referrals_by_invitee([user_id]).get(user_id)
    return None if referral is None or referral.status == "voided" else referral.inviter_id


def _coupon(each: CouponOutlook) -> dict[str, Any]:
    campaign = each.campaign
    return {"id": campaign.pk, "name": campaign.name, "trigger": campaign.trigger, **_answer(each)}


def _answer(each: CouponOutlook | RewardOutlook) -> dict[str, Any]:
    decision = each.decision
    return {
        "outcome": each.outcome,
        "reason": each.reason,
        "decided": decision.outcome if decision else None,
        "steps": [_step(step) for step in each.steps],
    }


def _step(step: Step[Any, Any]) -> dict[str, Any]:
    return {"rule": step.rule.name, "holds": step.verdict is None}
