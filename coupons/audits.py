"""What coupons owes to events, and a look whether it is there."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from accounts.signals import UserRegistered
from coupons.campaigns import Campaign, Trigger
from coupons.invariants import check_stock
from coupons.models import Coupon, IssueDecision, Outcome
from coupons.queries import WELCOME_RECEIVER
from coupons.running import edits_of_when_and_for_whom, spans_of_running
from events.envelope import Event
from events.operations.audits import Flaw, FlawKind, audit, figures

figures("coupons.stock", check_stock)


@audit(WELCOME_RECEIVER)
def audit_welcome_coupons(events: Sequence[Event[UserRegistered]]) -> Iterator[Flaw]:
    """Each campaign that ran at a registration has decided it once, with at most one coupon."""
    campaigns = _campaigns_that_ran([event.occurred_at for event in events])
    edited_at = edits_of_when_and_for_whom() if campaigns else {}
    found = _Found(campaigns, [event.data.user_id for event in events])
    for event in events:
        for campaign in campaigns:
            yield from found.flaws(event, campaign, edited_at.get(str(campaign.pk)))


class _Found:
    """The decisions and coupons that some people have of some campaigns."""

    def __init__(self, campaigns: Sequence[Campaign], user_ids: Sequence[UUID]) -> None:
        concerned = Q(campaign__in=[campaign.pk for campaign in campaigns], user__in=user_ids)
        decisions = IssueDecision.objects.filter(concerned) if campaigns else ()
        coupons = Coupon.objects.filter(concerned) if campaigns else ()
        self.decisions = Counter((row.campaign_id, row.user_id) for row in decisions)
        self.issued = {
            (row.campaign_id, row.user_id) for row in decisions if row.outcome == Outcome.ISSUED
        }
        self.coupons = Counter((row.campaign_id, row.user_id) for row in coupons)

    def flaws(
        self, event: Event[UserRegistered], campaign: Campaign, edited_at: datetime | None
    ) -> Iterator[Flaw]:
        """Yield what is wrong between one registration and one campaign."""
        pair, name = (campaign.pk, event.data.user_id), f"Campaign {campaign.pk}"
        decisions, coupons = self.decisions[pair], self.coupons[pair]
        kind, what = None, ""
        if max(decisions, coupons) > 1:
            kind, what = FlawKind.DOUBLED, f"made {decisions} decisions and {coupons} coupons."
        elif coupons and not decisions:
            kind, what = FlawKind.TORN, "issued a coupon without a decision."
        elif pair in self.issued and not coupons:
            kind, what = FlawKind.TORN, "decided to issue a coupon, which is not there."
        elif not decisions and _ran_at(campaign, event.occurred_at, edited_at):
            kind, what = FlawKind.MISSING, "ran at the registration, and has not decided it."
        if kind:
            yield Flaw(event_id=event.id, kind=kind, what=f"{name} {what}")


def _campaigns_that_ran(moments: Sequence[datetime]) -> list[Campaign]:
    """Return the campaigns whose time has one of these moments in it, whatever their status."""
    in_time = Q(ends_at__isnull=True) | Q(ends_at__gt=min(moments))
    campaigns = Campaign.objects.filter(
        in_time, trigger=Trigger.REGISTRATION, starts_at__lte=max(moments)
    )
    return list(campaigns.order_by("pk").prefetch_related("status_changes"))


def _ran_at(campaign: Campaign, at: datetime, edited_at: datetime | None) -> bool:
    """Tell whether a registration had to be decided, as far as the campaign's history tells.

    `eligibility.judge_registration` says when: active or paused, and in its time.
    """
    if not campaign.covers(at) or (edited_at is not None and at <= edited_at):
        return False
    spans = spans_of_running(campaign)
    return any(since <= at and (until is None or at < until) for since, until in spans)
