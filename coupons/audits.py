"""What coupons owes to events, and a look whether it is there."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from accounts.signals import UserRegistered
from coupons.campaigns import Campaign, Trigger
from coupons.eligibility import Person, judge_standing, people_by_id
from coupons.funnel import campaign_funnel
from coupons.invariants import check_stock
from coupons.models import Coupon, CouponStatus, DecisionReason, IssueDecision, Outcome
from coupons.queries import (
    FOLLOW_RECEIVER,
    RELEASE_RECEIVER,
    VOID_RECEIVER,
    WELCOME_RECEIVER,
)
from coupons.running import edits_of_when_and_for_whom, spans_of_running
from events.envelope import Event
from events.operations.audits import Flaw, FlawKind, audit, figures

audit("coupons.project_funnel")(campaign_funnel.audit)
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


@audit(FOLLOW_RECEIVER, VOID_RECEIVER, RELEASE_RECEIVER)
def audit_standing(events: Sequence[Event[Any]]) -> Iterator[Flaw]:
    """Unused coupons are usable, suspended or revoked as their owners stand now."""
    latest = {UUID(event.key): event for event in events}
    people = people_by_id(latest)
    unused = Coupon.objects.filter(user__in=list(latest), status=CouponStatus.ISSUED)
    waiting = IssueDecision.objects.filter(
        user__in=list(latest), outcome=Outcome.HELD, reason__in=_HELD_FOR_STANDING
    )
    wrong = [
        *((c.user_id, _differs(c, people[c.user_id])) for c in unused.select_related("campaign")),
        *(
            (d.user_id, _is_settled(d, people[d.user_id]))
            for d in waiting.select_related("campaign")
        ),
    ]
    for user_id, what in wrong:
        if what:
            yield Flaw(event_id=latest[user_id].id, kind=FlawKind.MISSING, what=what)


_HELD_FOR_STANDING = [DecisionReason.ACCOUNT_FLAGGED, DecisionReason.REFERRAL_FLAGGED]


def _differs(coupon: Coupon, person: Person) -> str:
    """Say how an unused coupon is other than its owner's standing means, if it is."""
    verdict = judge_standing(coupon.campaign, person)
    if verdict and verdict.outcome == Outcome.VOIDED:
        return f"Coupon {coupon.pk} is not revoked: {verdict.reason}."
    is_held = verdict is not None and verdict.outcome == Outcome.HELD
    if verdict and is_held and coupon.suspended_at is None:
        return f"Coupon {coupon.pk} is not suspended: {verdict.reason}."
    if not is_held and coupon.suspended_at is not None:
        return f"Coupon {coupon.pk} is still suspended, for nothing."
    return ""


def _is_settled(decision: IssueDecision, person: Person) -> str:
    """Say that a decision waits for what is settled, if it does."""
    verdict = judge_standing(decision.campaign, person)
    if verdict and verdict.outcome == Outcome.HELD:
        return ""
    return f"Campaign {decision.campaign_id} still holds a coupon back: {decision.reason}."
