"""How to make an event of each type really happen, so that any receiver of it can be tested.

A receiver of a type that is not in the table fails the kit's tests, with a text that says so.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts import closing, referrals, standing
from accounts.closing import CloseReason
from accounts.models import User
from accounts.services import register as register_account
from accounts.signals import (
    RiskCheckRequested,
    RiskDecided,
    risk_check_requested,
    risk_decided,
)
from coupons import bulk_issuing, lifecycle, redeeming
from coupons.models import Campaign, Coupon, IssueDecision, Redemption
from coupons.signals import SettlementRequested, settlement_requested
from events.delivery.drain import drain
from events.models import Delivery, Event, ReceiverState
from events.receivers import Receiver
from events.signals import EventSignal
from points import spending
from points.models import Entry, RewardRule
from project import checkouts
from project.models import Checkout
from project.signals import AlarmBegan, AlarmEnded, alarm_began, alarm_ended
from relay import health
from relay import services as relay
from relay.endpoints import DisabledReason
from tests.coupons.factories import make_coupon, make_decision
from tests.faults.world import PASSWORD, open_campaign_and_rule
from tests.points.factories import credit
from tests.probe.signals import Happened, happened
from tests.registrations import (
    make_people,
    make_person,
    make_service,
    refer,
)

_numbers = count(1)


class MissingStimulus(AssertionError):
    """A receiver listens to a type of event that the kit cannot make happen."""

    def __init__(self, type_: str) -> None:
        super().__init__(
            f"The fault tests do not know how to make {type_!r} happen. Add a function that does "
            "to STIMULI in tests/faults/stimuli.py; every receiver of it is then covered."
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """A world in which everything so far is delivered."""

    inviter: User


def set_scene() -> Scene:
    """Return the test's world: an open campaign, a reward rule, and an inviter who has their own.

    It is made when a test first asks for it.
    """
    inviter = User.objects.filter(referral__isnull=True).order_by("registered_at").first()
    return Scene(inviter or open_campaign_and_rule(drain_everything))


def _register(inviter: User | None = None) -> User:
    return register_account(
        email=f"person{next(_numbers)}@example.com",
        password=PASSWORD,
        referral_code=inviter.referral_code if inviter else "",
    ).user


def register_invited(scene: Scene) -> None:
    """Register a person whom the scene's inviter invited: a coupon, a reward, and what follows."""
    _register(scene.inviter)


def sell_out(scene: Scene) -> None:
    """Register a person who gets the last coupon of a campaign, and one who comes too late."""
    yesterday = timezone.now() - timedelta(days=1)
    terms = {"amount": 100, "currency": "EUR", "valid_days": 30, "stock": 1}
    last = Campaign.objects.create(
        name="Last", trigger="registration", status="active", starts_at=yesterday, **terms
    )
    for _ in range(2):
        _register(scene.inviter)
    # It counts for these two: campaigns are judged as they were at the registration.
    Campaign.objects.filter(pk=last.pk).update(ends_at=timezone.now())


def reach_the_cap(scene: Scene) -> None:
    """Register two people invited by somebody whom a rule rewards once."""
    version = RewardRule.objects.count() + 1
    rule = RewardRule.objects.create(version=version, points=100, cap_total=1)
    for _ in range(2):
        _register(scene.inviter)
    RewardRule.objects.filter(pk=rule.pk).update(active_until=timezone.now())


def make_campaign_with(reason: str, status: str) -> Campaign:
    """Return a campaign that decided against three people for now."""
    outcome = "skipped" if reason == "sold_out" else "held"
    campaign = open_campaign(status=status)
    IssueDecision.objects.bulk_create(
        IssueDecision(campaign=campaign, user=person, outcome=outcome, reason=reason)
        for person in make_people(3)
    )
    return campaign


def open_campaign(**given: Any) -> Campaign:
    """Return a campaign that registrations have nothing to do with."""
    terms = {"amount": 100, "currency": "EUR", "valid_days": 30, "stock": 100}
    columns = {"name": "Other", "trigger": "manual", "status": "active", **terms, **given}
    return Campaign.objects.create(starts_at=timezone.now() - timedelta(days=1), **columns)


def resume_campaign(scene: Scene) -> None:
    """Resume a campaign that held back coupons in its pause."""
    lifecycle.resume(campaign_id=make_campaign_with("campaign_paused", "paused").pk)


def end_campaign(scene: Scene) -> None:
    """End a campaign that held back coupons in its pause."""
    lifecycle.end(campaign_id=make_campaign_with("campaign_paused", "paused").pk)


def go_on_settling(scene: Scene) -> None:
    """Ask for the next chunk of what a campaign held back."""
    campaign = make_campaign_with("campaign_paused", "active")
    with transaction.atomic():
        settlement_requested.publish(SettlementRequested(campaign_id=campaign.pk))


def retry_sold_out(scene: Scene) -> None:
    """Try again for people who came too late for the stock there was."""
    lifecycle.retry_sold_out(campaign_id=make_campaign_with("sold_out", "active").pk)


def hold_coupon(**campaign: Any) -> Coupon:
    """Return a new person's usable coupon."""
    return make_coupon(open_campaign(**campaign), make_person())


def redeem(scene: Scene) -> Redemption:
    """Use a coupon for an order."""
    coupon = hold_coupon()
    return redeeming.redeem(code=coupon.code, order_ref="A-1042", order_amount=4990, by=coupon.user)


def roll_back(scene: Scene) -> None:
    """Undo the use of a coupon."""
    redemption = redeem(scene)
    redeeming.roll_back(redemption_id=redemption.pk, by=redemption.redeemed_by)


def flag_account(scene: Scene) -> User:
    """Put somebody with a coupon under review."""
    person = hold_coupon().user
    standing.flag_account(user_id=person.pk, reason="by_staff")
    return person


def clear_account(scene: Scene) -> None:
    """Clear somebody with a coupon, who was under review."""
    person = flag_account(scene)
    drain_everything()
    standing.clear_account(user_id=person.pk, reason="by_staff")


def close_account(scene: Scene) -> None:
    """Close the account of somebody with a coupon."""
    person = hold_coupon().user
    closing.close_account(user_id=person.pk, reason=CloseReason.REQUESTED)


def void_referral(scene: Scene) -> None:
    """Void the referral of somebody with a coupon for invited people."""
    person = hold_coupon(audience="invited").user
    refer(person, scene.inviter)
    referrals.void_referral(invitee_id=person.pk, reason="fraud")


def approve_referral(scene: Scene) -> None:
    """Approve a referral that held back a coupon for invited people."""
    campaign, person = open_campaign(audience="invited"), make_person()
    make_decision(campaign, person, outcome="held", reason="referral_flagged")
    refer(person, scene.inviter, "flagged")
    referrals.approve_referral(invitee_id=person.pk, reason="checked")


def issue_in_bulk(scene: Scene) -> None:
    """Issue a campaign's coupons to a list of people."""
    people = "\n".join(str(person.pk) for person in make_people(3))
    bulk_issuing.start(campaign_id=open_campaign().pk, people=people, by=scene.inviter)


def judge_somebody(scene: Scene) -> None:
    """Let somebody else decide that a new account is to be looked at."""
    decided = RiskDecided(user_id=_register().pk, decision="flag", reason="looks odd")
    with transaction.atomic():
        risk_decided.publish(decided)


def start_checkout(scene: Scene, points: int = 60) -> Checkout:
    """Pay an order with the coupon and the points of somebody who has 100."""
    coupon = hold_coupon()
    credit(coupon.user, 100)
    service = make_service("coupons.redeem_coupon", "points.spend_points")
    order = {"order_ref": str(uuid4()), "order_amount": 4990}  # effects are compared without ids
    terms = checkouts.Terms(code=coupon.code, points=points, **order)  # type: ignore[arg-type]
    return checkouts.start(terms=terms, by=service)


def refuse_checkout(scene: Scene) -> None:
    """Pay an order with more points than there are."""
    start_checkout(scene, points=101)


def undo_spending(scene: Scene) -> None:
    """Give back the points of a completed checkout."""
    checkout = start_checkout(scene)
    drain_everything()
    spent = Entry.objects.get(idempotency_key=f"spend:checkout:{checkout.order_ref}")
    spending.roll_back_spend(entry_id=spent.pk, actor_id=checkout.requested_by_id)


def undo_redemption(scene: Scene) -> None:
    """Give back a coupon: one used alone, and one of a completed checkout."""
    roll_back(scene)
    checkout = start_checkout(scene)
    drain_everything()
    redeeming.roll_back(redemption_id=checkout.redemption_id, by=checkout.requested_by)


def void_a_reward(scene: Scene) -> None:
    """Reward somebody for inviting a person, and void the referral."""
    invitee = _register(scene.inviter)
    drain_everything()
    referrals.void_referral(invitee_id=invitee.pk, reason="fraud")


def ask_about_risk(scene: Scene) -> None:
    """Have somebody judged."""
    with transaction.atomic():
        risk_check_requested.publish(
            RiskCheckRequested(user_id=scene.inviter.pk, signals=["disposable_domain"])
        )


def lose_an_endpoint(scene: Scene) -> None:
    """Disable an endpoint, which asked for nothing that happens here."""
    created = relay.create_endpoint(
        name=f"Endpoint {next(_numbers)}",
        url="https://gone.example/",
        event_types=["accounts.account_closed"],
        owner_email="owner@example.com",
    )
    health.disable(created.endpoint, DisabledReason.GONE)


def find_a_fraud(scene: Scene) -> None:
    """Find that somebody who closed their account, and was invited, is a fraud."""
    person = _register(scene.inviter)
    for reason in (CloseReason.REQUESTED, CloseReason.FRAUD):
        closing.close_account(user_id=person.pk, reason=reason)


def raise_an_alarm(scene: Scene) -> None:
    """Tell that a receiver has dead deliveries."""
    began = AlarmBegan(
        alarm_id=uuid4(), receiver="probe.record", kind="dead", oldest_due_age_s=1.0, dead=1
    )
    with transaction.atomic():
        alarm_began.publish(began)


def end_an_alarm(scene: Scene) -> None:
    """Tell that a receiver has no dead deliveries any more."""
    ended = AlarmEnded(alarm_id=uuid4(), receiver="probe.record", kind="dead", lasted_s=60.0)
    with transaction.atomic():
        alarm_ended.publish(ended)


def let_happen(scene: Scene) -> None:
    """Publish one of the probe's events."""
    with transaction.atomic():
        happened.publish(Happened(key=str(uuid4()), number=1))


STIMULI: dict[str, Callable[[Scene], object]] = {
    "accounts.risk_check_requested": ask_about_risk,
    "accounts.user_registered": register_invited,
    "accounts.account_flagged": flag_account,
    "accounts.account_cleared": clear_account,
    "accounts.account_closed": close_account,
    "accounts.referral_approved": approve_referral,
    "accounts.referral_voided": void_referral,
    "accounts.referral_settlement_requested": find_a_fraud,
    "accounts.risk_decided": judge_somebody,
    "coupons.coupon_issued": register_invited,
    "coupons.coupon_issue_skipped": sell_out,
    "coupons.campaign_sold_out": sell_out,
    "coupons.coupon_redeemed": redeem,
    "coupons.coupon_redemption_rolled_back": undo_redemption,
    "coupons.coupon_revoked": close_account,
    "coupons.campaign_resumed": resume_campaign,
    "coupons.campaign_ended": end_campaign,
    "coupons.settlement_requested": go_on_settling,
    "coupons.sold_out_retry_requested": retry_sold_out,
    "coupons.bulk_issue_requested": issue_in_bulk,
    "points.points_earned": register_invited,
    "points.points_reversed": void_a_reward,
    "points.reward_skipped": reach_the_cap,
    "points.points_spend_rolled_back": undo_spending,
    "project.checkout_started": start_checkout,
    "project.checkout_refused": refuse_checkout,
    "project.alarm_began": raise_an_alarm,
    "project.alarm_ended": end_an_alarm,
    "relay.endpoint_disabled": lose_an_endpoint,
    "probe.happened": let_happen,
    "probe.followed": let_happen,  # what `record` publishes
}


def provoke(receiver: Receiver, signal: EventSignal[Any], *, times: int = 1) -> list[Delivery]:
    """Make an event happen, once or often, and deliver everything but what this receiver is owed.

    Return its due deliveries. Raises MissingStimulus, and AssertionError where the stimulus of the
    type does not make it happen.
    """
    if signal.type not in STIMULI:
        raise MissingStimulus(signal.type)
    set_scene()
    scene = Scene(make_person())  # who was never rewarded before, or two runs would not compare
    before = Event.objects.filter(type=signal.type).count()
    with paused(receiver):
        for _ in range(times):
            STIMULI[signal.type](scene)
        drain_everything()
    assert Event.objects.filter(type=signal.type).count() >= before + times, (
        f"STIMULI[{signal.type!r}] in tests/faults/stimuli.py did not make it happen."
    )
    owed = Delivery.objects.filter(receiver=receiver.name, due_at__isnull=False)
    return list(owed.order_by("pk"))


@contextmanager
def paused(receiver: Receiver) -> Iterator[None]:
    """Deliver nothing to a receiver during a block."""
    state, _ = ReceiverState.objects.get_or_create(name=receiver.name)
    row = ReceiverState.objects.filter(pk=state.pk)
    row.update(paused_at=timezone.now())
    try:
        yield
    finally:
        row.update(paused_at=None)


def drain_everything() -> int:
    """Run due deliveries of all queues here until nothing is due. Return how many are done."""
    due = Delivery.objects.filter(due_at__lte=Now()).order_by()
    total = 0
    while done := sum(drain(queue) for queue in set(due.values_list("queue", flat=True))):
        total += done
    return total
