"""A campaign's figures of a period: its funnel, and the days one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Case, Count, IntegerField, QuerySet, Value, When

from coupons.campaigns import Campaign
from coupons.funnel import FunnelDay, Steps, days_of, sum_of
from coupons.models import IssueDecision
from periods import DAY, Period, first_uuid7, midnight


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day in the campaign's time zone."""

    day: date
    decided: int  # people about whom it was first decided
    steps: Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a campaign came to in a period."""

    decided: int
    steps: Steps
    days: Sequence[Day]  # the latest of the period


def figures_of(campaign: Campaign, period: Period) -> Figures:
    """Return a campaign's figures, in three queries.

    Steps appear a moment after they happen. People count on the day on which it was first decided
    about them, a moment after they registered: a decision's id keeps that, its time the latest.
    """
    zone = ZoneInfo(campaign.time_zone)
    steps = days_of(campaign.pk, since=period.since, until=period.until + DAY)
    decided = _decided_by_day(campaign.pk, period.shown_days, zone)
    by_day = {each.day: each for each in steps}
    days = [
        Day(day=day, decided=decided.get(day, 0), steps=_steps_on(day, by_day))
        for day in period.shown_days
    ]
    return Figures(decided=_decided(campaign.pk, period, zone), steps=sum_of(steps), days=days)


def _steps_on(day: date, by_day: Mapping[date, FunnelDay]) -> Steps:
    return by_day[day].steps if day in by_day else Steps()


def _decided(campaign_id: UUID, period: Period, zone: ZoneInfo) -> int:
    decisions = _decisions_until(campaign_id, period.until, zone)
    if period.since:
        decisions = decisions.filter(pk__gte=first_uuid7(midnight(period.since, zone)))
    return decisions.count()


def _decided_by_day(campaign_id: UUID, days: Sequence[date], zone: ZoneInfo) -> dict[date, int]:
    ends = [first_uuid7(midnight(day + DAY, zone)) for day in days]
    number = Case(
        *(When(pk__lt=end, then=Value(number)) for number, end in enumerate(ends)),
        output_field=IntegerField(),
    )
    decisions = _decisions_until(campaign_id, days[-1], zone)
    decisions = decisions.filter(pk__gte=first_uuid7(midnight(days[0], zone)))
    rows = decisions.annotate(number=number).values_list("number").annotate(Count("pk"))
    return {days[number]: count for number, count in rows}


def _decisions_until(campaign_id: UUID, day: date, zone: ZoneInfo) -> QuerySet[IssueDecision]:
    end = first_uuid7(midnight(day + DAY, zone))
    return IssueDecision.objects.filter(campaign=campaign_id, pk__lt=end).order_by()
