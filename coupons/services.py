"""Deciding who gets a coupon for signing up."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from django.utils import timezone

from accounts.signals import UserRegistered
from coupons.campaigns import Campaign
from coupons.eligibility import Person, Verdict, judge_registration, people_by_id
from coupons.issuing import Decided, allot, record
from coupons.locking import lock_campaigns, may_decide_registrations
from coupons.models import IssueDecision
from events.envelope import Event
from events.rows import among

Registration: TypeAlias = Event[UserRegistered]


def decide_registration_campaigns(events: Sequence[Registration]) -> None:
    """Decide every registration campaign about every new account, and issue the coupons.

    Campaigns are judged as they were when the person registered, however late this runs. Where the
    stock does not suffice, the earliest registrations get it. What a campaign has decided before
    about an account stays, whichever event led to it.

    Call it inside transaction.atomic(). The number of queries does not grow with that of events.
    """
    registrations = sorted(events, key=lambda event: event.position)
    campaigns = _lock_campaigns([event.occurred_at for event in registrations])
    if not campaigns:
        return
    # Read after the locks: whoever suspends or revokes coupons takes them too, so that either
    # this sees the account's new status or they see the new coupon.
    people = people_by_id({event.data.user_id for event in registrations})
    known = _known_decisions(campaigns, people)
    decided: list[Decided] = []
    for campaign in campaigns:
        undecided = _first_per_user(registrations, known[campaign.pk])
        decided += _decide(campaign, undecided, people)
    record(decided)


def _lock_campaigns(moments: Collection[datetime]) -> list[Campaign]:
    """Lock the campaigns that may have run at one of these moments, in order of id."""
    return lock_campaigns(may_decide_registrations(min(moments), max(moments)))


def _known_decisions(
    campaigns: Collection[Campaign], user_ids: Collection[UUID]
) -> dict[UUID, set[UUID]]:
    """Return, for each campaign, the users it has decided about."""
    known: dict[UUID, set[UUID]] = {campaign.pk: set() for campaign in campaigns}
    decisions = IssueDecision.objects.filter(among("user", user_ids), campaign__in=list(known))
    for campaign_id, user_id in decisions.values_list("campaign_id", "user_id"):
        known[campaign_id].add(user_id)
    return known


def _first_per_user(
    registrations: Sequence[Registration], decided: Collection[UUID]
) -> list[Registration]:
    first: dict[UUID, Registration] = {}
    for event in registrations:
        if event.data.user_id not in decided:
            first.setdefault(event.data.user_id, event)
    return list(first.values())


def _decide(
    campaign: Campaign, registrations: Sequence[Registration], people: Mapping[UUID, Person]
) -> list[Decided]:
    """Return the campaign's decisions, unsaved, with the stock taken for those who win."""
    now = timezone.now()
    decided = [
        Decided(_decision(campaign, event, verdict, now), event)
        for event in registrations
        if (verdict := judge_registration(campaign, event, people[event.data.user_id], now))
    ]
    allot(campaign, decided)
    return decided


def _decision(
    campaign: Campaign, event: Registration, verdict: Verdict, now: datetime
) -> IssueDecision:
    return IssueDecision(
        campaign=campaign,
        user_id=event.data.user_id,
        outcome=verdict.outcome,
        reason=verdict.reason,
        event_id=event.id,
        decided_at=now,
    )
