"""Coupons follow what becomes of their owners' accounts and referrals.

Events only say whom to look at. What is done follows from the state accounts is in now, so it does
not matter in which order events arrive, nor whether the registration's own comes last.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.queries import accounts_by_id
from coupons.bulk_issues import BulkIssueRow, RowOutcome
from coupons.campaigns import Campaign
from coupons.eligibility import Person, judge_standing, people_by_id
from coupons.issuing import Decided, record
from coupons.locking import lock_campaigns, may_decide_registrations
from coupons.models import Coupon, CouponStatus, IssueDecision, Outcome
from coupons.settling import decide_again
from coupons.signals import CouponRevoked, coupon_revoked
from events.envelope import Event

MARGIN = timedelta(minutes=1)  # the event of a registration is a moment later than registered_at

Causes = Mapping[UUID, Event[Any]] | None  # by user; None: the event being handled, if any


def follow_people(causes: Mapping[UUID, Event[Any]]) -> None:
    """Bring the coupons and open decisions of some people to what their status means.

    Unused coupons of flagged accounts are suspended, of others restored; of closed accounts, and
    of referrals that were voided, revoked. What was held for such a reason is issued, stock
    permitting, or voided. Redeemed coupons stay as they are.

    Call it inside transaction.atomic(). The number of queries does not grow with that of people.
    """
    campaigns = lock_campaigns(may_concern(list(causes)))
    bring_in_line(campaigns, list(causes), causes=causes)


def bring_in_line(
    campaigns: Sequence[Campaign],
    user_ids: Collection[UUID],
    *,
    causes: Causes = None,
) -> None:
    """Do the same under locks that are held already, for what these campaigns decided."""
    people = people_by_id(user_ids)  # after the locks: see services.decide_registration_campaigns
    by_id = {campaign.pk: campaign for campaign in campaigns}
    _align_coupons(_lock_unused(by_id, people), by_id, people, causes)
    _decide_held(campaigns, people, causes)


def may_concern(user_ids: Sequence[UUID]) -> Q:
    """Return the condition of campaigns that decided about these people, or may be doing so.

    A transaction that is deciding now, and has read the people as they were before, has not
    committed: its campaign ran when one of them registered, or has a line of a list to do yet. If
    it has committed, the same query sees its decisions. Other campaigns need not wait.
    """
    decided = IssueDecision.objects.filter(campaign=OuterRef("pk"), user__in=user_ids)
    listed = BulkIssueRow.objects.filter(
        bulk_issue__campaign=OuterRef("pk"), user__in=user_ids, outcome=RowOutcome.OPEN
    )
    return Q(Exists(decided)) | Q(Exists(listed)) | _ran_when_they_registered(user_ids)


def _ran_when_they_registered(user_ids: Collection[UUID]) -> Q:
    accounts = accounts_by_id(user_ids).values()
    moments = [account.registered_at for account in accounts if account.registered_at]
    if not moments:
        return Q(pk__in=[])
    return may_decide_registrations(min(moments) - MARGIN, max(moments) + MARGIN)


def _lock_unused(campaigns: Collection[UUID], people: Collection[UUID]) -> list[Coupon]:
    # A redemption does not wait for the campaign: the rows themselves are locked against it.
    unused = Coupon.objects.select_for_update(no_key=True).filter(
        user__in=list(people), campaign__in=list(campaigns), status=CouponStatus.ISSUED
    )
    return list(unused.order_by("pk"))


def _align_coupons(
    coupons: Sequence[Coupon],
    campaigns: Mapping[UUID, Campaign],
    people: Mapping[UUID, Person],
    causes: Causes,
) -> None:
    """Suspend, restore or revoke coupons, which are locked and unused."""
    doomed: list[tuple[Coupon, str]] = []
    held, free = [], []
    for coupon in coupons:
        verdict = judge_standing(campaigns[coupon.campaign_id], people[coupon.user_id])
        if verdict and verdict.outcome == Outcome.VOIDED:
            doomed.append((coupon, verdict.reason))
        elif verdict and verdict.outcome == Outcome.HELD:
            held.append(coupon)
        else:
            free.append(coupon)
    _revoke(doomed, causes)
    _suspend(held)
    _restore(free)


def _suspend(coupons: Sequence[Coupon]) -> None:
    usable = [coupon.pk for coupon in coupons if coupon.suspended_at is None]
    Coupon.objects.filter(pk__in=usable).update(suspended_at=timezone.now())


def _restore(coupons: Sequence[Coupon]) -> None:
    suspended = [coupon.pk for coupon in coupons if coupon.suspended_at is not None]
    Coupon.objects.filter(pk__in=suspended).update(suspended_at=None)


def _revoke(coupons: Sequence[tuple[Coupon, str]], causes: Causes) -> None:
    """Take coupons back for good, with the reason on their decisions."""
    decisions: dict[str, list[UUID]] = defaultdict(list)
    for coupon, reason in coupons:
        decisions[reason].append(coupon.decision_id)
    Coupon.objects.filter(pk__in=[c.pk for c, _ in coupons]).update(status=CouponStatus.REVOKED)
    for reason, ids in decisions.items():  # there are two
        IssueDecision.objects.filter(pk__in=ids).update(
            outcome=Outcome.VOIDED, reason=reason, decided_at=timezone.now()
        )
    coupon_revoked.publish_many(
        [
            CouponRevoked(
                coupon_id=coupon.pk,
                campaign_id=coupon.campaign_id,
                user_id=coupon.user_id,
                reason=reason,
            )
            for coupon, reason in coupons
        ],
        causes=[causes[coupon.user_id] for coupon, _ in coupons] if causes else None,
    )


def _decide_held(
    campaigns: Sequence[Campaign], people: Mapping[UUID, Person], causes: Causes
) -> None:
    held = IssueDecision.objects.filter(
        campaign__in=[campaign.pk for campaign in campaigns],
        user__in=list(people),
        outcome=Outcome.HELD,
    )
    by_campaign: dict[UUID, list[IssueDecision]] = defaultdict(list)
    for decision in held.order_by("event_id", "pk"):
        by_campaign[decision.campaign_id].append(decision)
    changed: list[Decided] = []
    for campaign in campaigns:
        changed += decide_again(campaign, by_campaign[campaign.pk], people, causes)
    record(changed)
