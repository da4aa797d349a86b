"""What was held back or refused for want of stock is decided again, a chunk at a time."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from coupons.campaigns import OVER, Campaign, CampaignStatus
from coupons.eligibility import Person, judge_again, people_by_id
from coupons.issuing import Decided, allot, record
from coupons.locking import lock_campaigns
from coupons.models import DecisionReason, IssueDecision, Outcome
from coupons.signals import (
    SettlementRequested,
    SoldOutRetryRequested,
    settlement_requested,
    sold_out_retry_requested,
)
from coupons.states import EffectiveStatus, effective_status
from events.envelope import Event

CHUNK = 100  # decisions in one transaction: registrations wait for the campaign's row meanwhile


def settle_held(*, campaign_id: UUID) -> None:
    """Decide again what a campaign held back, now that it runs again or has ended.

    A running campaign issues what it held only because it was paused; an ended one skips all that
    it held. A paused one goes on holding it. What a chunk leaves is asked for by an event.
    Call it inside transaction.atomic().
    """
    for campaign in lock_campaigns(Q(pk=campaign_id)):
        chunk = _in_order(_to_settle(campaign))
        _decide_again(campaign, chunk)
        if len(chunk) == CHUNK:
            settlement_requested.publish(SettlementRequested(campaign_id=campaign_id))


def settle_sold_out(*, campaign_id: UUID) -> None:
    """Issue coupons that were refused for want of stock, while there is stock and time.

    The earliest registrations come first. What a chunk leaves is asked for by an event.
    Call it inside transaction.atomic().
    """
    for campaign in lock_campaigns(Q(pk=campaign_id)):
        if not _is_live(campaign):
            return
        refused = campaign.decisions.filter(outcome=Outcome.SKIPPED, reason=DecisionReason.SOLD_OUT)
        chunk = _in_order(refused)
        _decide_again(campaign, chunk)
        if len(chunk) == CHUNK and _is_live(campaign):
            sold_out_retry_requested.publish(SoldOutRetryRequested(campaign_id=campaign_id))


def decide_again(
    campaign: Campaign,
    decisions: Sequence[IssueDecision],
    people: Mapping[UUID, Person],
    causes: Mapping[UUID, Event[object]] | None = None,
) -> list[Decided]:
    """Judge decisions of a locked campaign anew; return those that changed, for `record`.

    `causes` are the events that led to it, by user; None: the one being handled.
    """
    now = timezone.now()
    before = {decision.pk: (decision.outcome, decision.reason) for decision in decisions}
    decided = []
    for decision in decisions:
        verdict = judge_again(campaign, people[decision.user_id], now)
        decision.campaign = campaign
        decision.outcome, decision.reason = verdict.outcome, verdict.reason
        decision.decided_at = now
        decided.append(Decided(decision, causes[decision.user_id] if causes else None))
    allot(campaign, decided)
    return [
        pair
        for pair in decided
        if (pair.decision.outcome, pair.decision.reason) != before[pair.decision.pk]
    ]


def _decide_again(campaign: Campaign, decisions: Sequence[IssueDecision]) -> None:
    people = people_by_id({decision.user_id for decision in decisions})
    record(decide_again(campaign, decisions, people))


def _to_settle(campaign: Campaign) -> QuerySet[IssueDecision]:
    held = campaign.decisions.filter(outcome=Outcome.HELD)
    if campaign.status in OVER:
        return held
    if campaign.status == CampaignStatus.PAUSED:
        return held.none()
    return held.filter(reason=DecisionReason.CAMPAIGN_PAUSED)


def _in_order(decisions: QuerySet[IssueDecision]) -> list[IssueDecision]:
    # The id of the event that led to a decision is a UUIDv7: it sorts by time of registration.
    return list(decisions.order_by("event_id", "pk")[:CHUNK])


def _is_live(campaign: Campaign) -> bool:
    return effective_status(campaign, at=timezone.now()) == EffectiveStatus.LIVE
