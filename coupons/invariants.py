"""What must always hold of coupons: I3, one decision, at most one coupon, used at most once."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from accounts.signals import account_closed, user_registered
from coupons.campaigns import Campaign, Trigger
from coupons.models import Coupon, CouponStatus, IssueDecision, Outcome, Redemption
from coupons.queries import FOLLOW_RECEIVER, WELCOME_RECEIVER
from coupons.running import edits_of_when_and_for_whom, spans_of_running
from events.models import Delivery, DeliveryState, Event
from events.operations.checksum import register_effects
from events.operations.ids import AsId, AsKey
from events.operations.invariants import Breach, Circumstances, breaches_in, invariant

register_effects(
    IssueDecision,
    fields=["id", "campaign_id", "user_id", "outcome", "reason", "event_id"],
    event_field="event_id",
)
register_effects(
    Coupon,
    fields=[
        "id",
        "decision_id",
        "campaign_id",
        "user_id",
        "code",
        "status",
        "amount",
        "currency",
        "basis_points",
        "cap",
        "min_spend",
    ],
)
register_effects(Campaign, fields=["id", "issued_count"])
register_effects(Redemption, fields=["id", "coupon_id", "order_ref", "order_amount", "discount"])

_TELL = "No code path leads here. Keep a copy of the database and look at what wrote the rows."


@invariant("I3", "One decision and at most one coupon per person and campaign, within the stock")
def check_coupons(circumstances: Circumstances) -> Iterator[Breach]:
    """I3, and that a delivered registration was decided by every campaign it fell into."""
    yield from _check_once()
    yield from _check_decisions_have_their_coupons()
    yield from _check_redemptions()
    if circumstances.at_rest:
        yield from _check_closed_accounts()
    edited_at = edits_of_when_and_for_whom()
    for campaign in _registration_campaigns():
        yield from breaches_in(
            _undecided(campaign, edited_at.get(str(campaign.pk))),
            what=f"registrations were delivered, but campaign {campaign.pk} did not decide them",
            hint="`manage.py explain --event ID` tells the story of one.",
            id_field="event_id",
        )


def _check_once() -> Iterator[Breach]:
    for model, what in (
        (IssueDecision, "accounts have several decisions of one campaign"),
        (Coupon, "accounts have several coupons of one campaign"),
    ):
        per_person = model.objects.order_by().values("user_id", "campaign_id")
        yield from breaches_in(
            per_person.annotate(count=Count("pk")).filter(count__gt=1),
            what=what,
            hint=_TELL,
            id_field="user_id",
        )


def _check_decisions_have_their_coupons() -> Iterator[Breach]:
    coupons = Coupon.objects.filter(decision=OuterRef("pk"))
    yield from breaches_in(
        IssueDecision.objects.filter(~Exists(coupons), outcome=Outcome.ISSUED),
        what="decisions to issue a coupon have none",
        hint=_TELL,
    )
    allowed = Q(decision__outcome=Outcome.ISSUED) | Q(
        decision__outcome=Outcome.VOIDED, status=CouponStatus.REVOKED
    )
    belongs = allowed & Q(user=F("decision__user"), campaign=F("decision__campaign"))
    yield from breaches_in(
        Coupon.objects.exclude(belongs),
        what="coupons do not follow from their decision",
        hint=_TELL,
    )


@invariant("I3", "Campaigns count the coupons they issued.")
def check_stock(circumstances: Circumstances) -> Iterator[Breach]:
    """I3. A coupon counts for ever, whatever became of it."""
    counts = Coupon.objects.filter(campaign=OuterRef("pk")).order_by().values("campaign")
    issued = Subquery(counts.values(count=Count("pk")), output_field=IntegerField())
    yield from breaches_in(
        Campaign.objects.annotate(coupons_issued=Coalesce(issued, 0)).exclude(
            issued_count=F("coupons_issued")
        ),
        what="campaigns count other than the coupons they issued",
        hint="Only coupons.issuing may write issued_count; compare it with the coupons.",
    )
    yield from breaches_in(
        Campaign.objects.filter(stock__lt=F("issued_count")),
        what="campaigns issued more coupons than their stock",
        hint=_TELL,
    )


def _check_redemptions() -> Iterator[Breach]:
    applied = Redemption.objects.filter(rolled_back_at__isnull=True)
    counted = applied.order_by().values("coupon_id").annotate(count=Count("pk"))
    yield from breaches_in(
        counted.filter(count__gt=1),
        what="coupons are applied to several orders",
        hint=_TELL,
        id_field="coupon_id",
    )
    is_applied = Exists(applied.filter(coupon=OuterRef("pk")))
    yield from breaches_in(
        Coupon.objects.filter(~is_applied, status=CouponStatus.REDEEMED)
        | Coupon.objects.filter(is_applied).exclude(status=CouponStatus.REDEEMED),
        what="coupons are redeemed without an order, or applied to one without being redeemed",
        hint=_TELL,
    )


def _check_closed_accounts() -> Iterator[Breach]:
    """Closed accounts have nothing left to use, once every delivery is done or given up."""
    undelivered = Delivery.objects.filter(
        receiver=FOLLOW_RECEIVER, key=AsKey(OuterRef("user_id"))
    ).exclude(state=DeliveryState.DONE)
    told = Event.objects.filter(type=account_closed.type, key=AsKey(OuterRef("user_id")))
    yield from breaches_in(
        Coupon.objects.filter(Exists(told), ~Exists(undelivered), status=CouponStatus.ISSUED),
        what="accounts are closed, but their coupons are not revoked",
        hint=f"`manage.py replay --state done --receiver {FOLLOW_RECEIVER} --key USER` mends it.",
    )


def _registration_campaigns() -> QuerySet[Campaign]:
    campaigns = Campaign.objects.filter(trigger=Trigger.REGISTRATION)
    return campaigns.prefetch_related("status_changes")


def _undecided(campaign: Campaign, edited_at: datetime | None) -> QuerySet[Event]:
    """Return the registrations that were delivered while the campaign ran, and not decided.

    `eligibility.judge_registration` says when it runs: active or paused, and in its time.
    """
    delivered = Delivery.objects.filter(
        event_id=OuterRef("event_id"),
        receiver=WELCOME_RECEIVER,
        target="",
        state=DeliveryState.DONE,
    )
    decided = IssueDecision.objects.filter(campaign=campaign, user=AsId(OuterRef("key")))
    since = Q(occurred_at__gt=edited_at) if edited_at else Q()
    registrations = Event.objects.filter(_in_its_time(campaign), since, type=user_registered.type)
    return registrations.filter(~Exists(decided)).filter(Exists(delivered))


def _in_its_time(campaign: Campaign) -> Q:
    """Return which events occurred while the campaign ran, as far as its history tells."""
    ended = Q() if campaign.ends_at is None else Q(occurred_at__lt=campaign.ends_at)
    running = Q(pk__in=[])
    for since, until in spans_of_running(campaign):
        span: dict[str, Any] = {"occurred_at__gte": since}
        if until is not None:
            span["occurred_at__lt"] = until
        running |= Q(**span)
    return running & ended & Q(occurred_at__gte=campaign.starts_at)
