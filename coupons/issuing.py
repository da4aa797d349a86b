"""Taking coupons out of a campaign's stock, under its row lock, making and publishing them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.models import F, Q

import codes
from coupons.campaigns import Campaign
from coupons.models import CODE_LENGTH, Coupon, DecisionReason, IssueDecision, Outcome
from coupons.signals import (
    CampaignSoldOut,
    CouponIssued,
    CouponIssueSkipped,
    campaign_sold_out,
    coupon_issue_skipped,
    coupon_issued,
)
from coupons.validity import validity_window
from events.envelope import Event
from events.rows import insert


class StockChanged(Exception):
    """The stock of a campaign changed under its lock. Lock the campaign's row before issuing."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Decided(NamedTuple):
    """A decision, new or changed, and the event that led to it: None is the one being handled."""

    decision: IssueDecision
    cause: Event[Any] | None = None


def allot(campaign: Campaign, decided: Sequence[Decided]) -> None:
    """Take the stock for decisions to issue, in their order; those without become sold out.

    The campaign's row is locked; the decisions are all its own, and `record` saves them.
    """
    winners = _with_outcome(decided, Outcome.ISSUED)
    granted = take_stock(campaign, len(winners))
    for decision, _ in winners[granted:]:
        decision.outcome, decision.reason = Outcome.SKIPPED, DecisionReason.SOLD_OUT
    if granted and campaign.stock == campaign.issued_count:
        campaign_sold_out.publish(
            CampaignSoldOut(campaign_id=campaign.pk, stock=campaign.issued_count),
            cause=winners[granted - 1].cause,
        )


def record(decided: Sequence[Decided]) -> None:
    """Save new and changed decisions, with their coupons, and publish what came of them."""
    _save([pair.decision for pair in decided])
    winners = _with_outcome(decided, Outcome.ISSUED)
    coupons = [new_coupon(pair.decision) for pair in winners]
    insert(coupons)
    coupon_issued.publish_many(
        [
            CouponIssued(
                coupon_id=coupon.pk, campaign_id=coupon.campaign_id, user_id=coupon.user_id
            )
            for coupon in coupons
        ],
        causes=_causes(winners),
    )
    _publish_skipped(_with_outcome(decided, Outcome.SKIPPED))


def take_stock(campaign: Campaign, wanted: int) -> int:
    """Take as many coupons as are wanted, or as many as are left, and return how many.

    The database has the last word: an update that would exceed the stock matches no row.
    """
    taken = left_of(campaign, wanted)
    if taken == 0:
        return 0
    enough = Q(stock__isnull=True) | Q(stock__gte=F("issued_count") + taken)
    row = Campaign.objects.filter(enough, pk=campaign.pk, issued_count=campaign.issued_count)
    if row.update(issued_count=F("issued_count") + taken) != 1:
        raise StockChanged
    campaign.issued_count += taken
    return taken


def left_of(campaign: Campaign, wanted: int) -> int:
    """Return how many of the coupons that are wanted a campaign's stock has, as it was read."""
    return wanted if campaign.stock is None else min(wanted, campaign.stock - campaign.issued_count)


def new_coupon(decision: IssueDecision) -> Coupon:
    """Return an unsaved coupon for a decision to issue one, with a copy of the benefit."""
    campaign = decision.campaign
    valid_from, valid_until = validity_window(campaign, issued_at=decision.decided_at)
    return Coupon(
        decision_id=decision.pk,
        campaign_id=campaign.pk,
        user_id=decision.user_id,
        code=codes.generate(CODE_LENGTH),
        valid_from=valid_from,
        valid_until=valid_until,
        issued_at=decision.decided_at,
        **campaign.terms_of_benefit(),
    )


def _with_outcome(decided: Sequence[Decided], outcome: Outcome) -> list[Decided]:
    return [pair for pair in decided if pair.decision.outcome == outcome]


def _save(decisions: Sequence[IssueDecision]) -> None:
    new = [decision for decision in decisions if decision._state.adding]
    known = [decision for decision in decisions if not decision._state.adding]
    insert(new)
    IssueDecision.objects.bulk_update(known, ["outcome", "reason", "decided_at"])


def _publish_skipped(skipped: Sequence[Decided]) -> None:
    coupon_issue_skipped.publish_many(
        [
            CouponIssueSkipped(
                campaign_id=decision.campaign_id, user_id=decision.user_id, reason=decision.reason
            )
            for decision, _ in skipped
        ],
        causes=_causes(skipped),
    )


def _causes(decided: Sequence[Decided]) -> list[Event[Any]] | None:
    causes = [pair.cause for pair in decided if pair.cause is not None]
    return causes if len(causes) == len(decided) else None
