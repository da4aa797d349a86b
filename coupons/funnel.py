"""How far people get with a campaign: decided, issued, redeemed; in all, and day by day."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Count

from coupons.funnel_steps import FunnelStep, StepKind
from coupons.models import Campaign, IssueDecision
from coupons.signals import (
    coupon_issue_skipped,
    coupon_issued,
    coupon_redeemed,
    coupon_redemption_rolled_back,
)
from events.envelope import Event
from events.operations.projections import Projection, register_projection

_KINDS = {
    coupon_issued.type: StepKind.ISSUED,
    coupon_issue_skipped.type: StepKind.REFUSED,
    coupon_redeemed.type: StepKind.REDEEMED,
    coupon_redemption_rolled_back.type: StepKind.ROLLED_BACK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How often what happened. Somebody refused for want of stock may get a coupon later."""

    issued: int = 0
    refused: int = 0
    redeemed: int = 0
    rolled_back: int = 0

    @property
    def used(self) -> int:
        """Redemptions that were not undone."""
        return self.redeemed - self.rolled_back


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """A campaign's funnel. Steps appear a moment after they happen."""

    decided: int = 0  # people, those whose coupon is held back included
    steps: Steps = Steps()


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelDay:
    """One day in the campaign's time zone. Days on which nothing happened are left out."""

    day: date
    steps: Steps


def funnels_of(campaign_ids: Collection[UUID]) -> dict[UUID, Funnel]:
    """Return the funnels of these campaigns, in two queries."""
    theirs = IssueDecision.objects.filter(campaign__in=campaign_ids).order_by()
    decided = dict(theirs.values_list("campaign_id").annotate(Count("pk")))
    rows = FunnelStep.objects.filter(campaign__in=campaign_ids).values_list("campaign_id", "kind")
    counts: dict[UUID, dict[str, int]] = defaultdict(dict)
    for campaign_id, kind, count in rows.annotate(Count("pk")):
        counts[campaign_id][kind] = count
    return {
        campaign_id: Funnel(decided=decided.get(campaign_id, 0), steps=Steps(**counts[campaign_id]))
        for campaign_id in campaign_ids
    }


def days_of(
    campaign_id: UUID, *, since: date | None = None, until: date | None = None
) -> list[FunnelDay]:
    """Return a campaign's days in order, from `since`, before `until`, in one query."""
    steps = FunnelStep.objects.filter(campaign=campaign_id)
    steps = steps.filter(day__gte=since) if since else steps
    steps = steps.filter(day__lt=until) if until else steps
    counts: dict[date, dict[str, int]] = defaultdict(dict)
    for day, kind, count in steps.values_list("day", "kind").annotate(Count("pk")).order_by("day"):
        counts[day][kind] = count
    return [FunnelDay(day=day, steps=Steps(**of_day)) for day, of_day in counts.items()]


def sum_of(days: Iterable[FunnelDay]) -> Steps:
    """Return what happened on some days, all told."""
    total: Counter[str] = Counter()
    for each in days:
        total.update(asdict(each.steps))
    return Steps(**total)


def _steps_of(events: Sequence[Event[Any]]) -> Iterator[FunnelStep]:
    zones = _zones_of({event.data.campaign_id for event in events})
    for event in events:
        if zone := zones.get(event.data.campaign_id):
            yield FunnelStep(
                event_id=event.id,
                campaign_id=event.data.campaign_id,
                day=event.occurred_at.astimezone(zone).date(),
                kind=_KINDS[event.type],
            )


def _zones_of(campaign_ids: Collection[UUID]) -> Mapping[UUID, ZoneInfo]:
    campaigns = Campaign.objects.filter(pk__in=campaign_ids).values_list("pk", "time_zone")
    return {campaign_id: ZoneInfo(time_zone) for campaign_id, time_zone in campaigns}


# After a change of a campaign's time zone, a rebuild moves its steps to the days they are on now.
campaign_funnel = register_projection(
    Projection(
        name="coupons.funnel",
        signals=(
            coupon_issued,
            coupon_issue_skipped,
            coupon_redeemed,
            coupon_redemption_rolled_back,
        ),
        model=FunnelStep,
        rows=_steps_of,
    )
)
