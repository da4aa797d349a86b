"""Deciding who gets a coupon."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.queries import AccountSummary, accounts_by_id
from accounts.signals import UserRegistered
from coupons.campaigns import Campaign, CampaignStatus, CampaignStatusChange, Trigger
from coupons.eligibility import Verdict, judge_registration
from coupons.issuing import new_coupon, take_stock
from coupons.models import Coupon, DecisionReason, IssueDecision, Outcome
from coupons.signals import (
    CampaignSoldOut,
    CouponIssued,
    CouponIssueSkipped,
    campaign_sold_out,
    coupon_issue_skipped,
    coupon_issued,
)
from events.envelope import Event

Registration: TypeAlias = Event[UserRegistered]


class Decided(NamedTuple):
    """A decision and the event that led to it."""

    decision: IssueDecision
    cause: Registration


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
    accounts = accounts_by_id({event.data.user_id for event in registrations})
    known = _known_decisions(campaigns, accounts)
    decided: list[Decided] = []
    for campaign in campaigns:
        undecided = _first_per_user(registrations, known[campaign.pk])
        decided += _decide(campaign, undecided, accounts)
    _record(decided)


def _lock_campaigns(moments: Collection[datetime]) -> list[Campaign]:
    """Lock the campaigns that may have run at one of these moments, in order of id."""
    first, last = min(moments), max(moments)
    changed_since = CampaignStatusChange.objects.filter(
        campaign=OuterRef("pk"), changed_at__gt=first
    )
    still_running = Q(status__in=[CampaignStatus.ACTIVE, CampaignStatus.PAUSED])
    campaigns = (
        Campaign.objects.select_for_update(no_key=True)  # rows that refer to it need not wait
        .filter(still_running | Exists(changed_since), trigger=Trigger.REGISTRATION)
        .filter(Q(ends_at__isnull=True) | Q(ends_at__gt=first), starts_at__lte=last)
        .order_by("pk")
        .prefetch_related("status_changes")
    )
    return list(campaigns)


def _known_decisions(
    campaigns: Collection[Campaign], user_ids: Collection[UUID]
) -> dict[UUID, set[UUID]]:
    """Return, for each campaign, the users it has decided about."""
    known: dict[UUID, set[UUID]] = {campaign.pk: set() for campaign in campaigns}
    decisions = IssueDecision.objects.filter(campaign__in=list(known), user__in=list(user_ids))
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
    campaign: Campaign,
    registrations: Sequence[Registration],
    accounts: Mapping[UUID, AccountSummary],
) -> list[Decided]:
    """Return the campaign's decisions, unsaved, with the stock taken for those who win."""
    now = timezone.now()
    decided = [
        Decided(_decision(campaign, event, verdict, now), event)
        for event in registrations
        if (verdict := judge_registration(campaign, event, accounts[event.data.user_id], now))
    ]
    winners = _issued(decided)
    granted = take_stock(campaign, len(winners))
    for decision, _ in winners[granted:]:
        decision.outcome, decision.reason = Outcome.SKIPPED, DecisionReason.SOLD_OUT
    if granted and campaign.stock == campaign.issued_count:
        _publish_sold_out(campaign, winners[granted - 1].cause)
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


def _issued(decided: Sequence[Decided]) -> list[Decided]:
    return [pair for pair in decided if pair.decision.outcome == Outcome.ISSUED]


def _record(decided: Sequence[Decided]) -> None:
    """Save the decisions with their coupons, and publish what came of them."""
    winners = _issued(decided)
    IssueDecision.objects.bulk_create(pair.decision for pair in decided)
    coupons = Coupon.objects.bulk_create(new_coupon(pair.decision) for pair in winners)
    _publish_issued(coupons, winners)
    _publish_skipped([pair for pair in decided if pair.decision.outcome == Outcome.SKIPPED])


def _publish_issued(coupons: Sequence[Coupon], winners: Sequence[Decided]) -> None:
    coupon_issued.publish_many(
        [
            CouponIssued(
                coupon_id=coupon.pk, campaign_id=coupon.campaign_id, user_id=coupon.user_id
            )
            for coupon in coupons
        ],
        causes=[pair.cause for pair in winners],
    )


def _publish_skipped(skipped: Sequence[Decided]) -> None:
    coupon_issue_skipped.publish_many(
        [
            CouponIssueSkipped(
                campaign_id=decision.campaign_id, user_id=decision.user_id, reason=decision.reason
            )
            for decision, _ in skipped
        ],
        causes=[pair.cause for pair in skipped],
    )


def _publish_sold_out(campaign: Campaign, cause: Registration) -> None:
    campaign_sold_out.publish(
        CampaignSoldOut(campaign_id=campaign.pk, stock=campaign.issued_count), cause=cause
    )
