"""I3: what must hold of decisions and coupons, and how a breach of it is told."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models import F
from django.test import Client
from django.utils import timezone

from accounts.closing import CloseReason, close_account
from accounts.models import User
from accounts.signals import AccountClosed, account_closed
from coupons.models import Campaign, Coupon, IssueDecision, Redemption
from coupons.queries import WELCOME_RECEIVER
from coupons.redeeming import redeem
from events.models import Delivery, DeliveryState
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_decision
from tests.coupons.test_admin import form_of, url
from tests.faults.stimuli import drain_everything
from tests.faults.world import open_campaign_and_rule, register
from tests.invariants import broken, without_constraint

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    return client


@pytest.fixture
def person(drain: Drain) -> User:
    """Return somebody who was invited and got a coupon, as the inviter did."""
    invited: User = register("b@example.com", open_campaign_and_rule(drain))
    drain()
    return invited


def lose_the_coupon(person: User) -> None:
    """Leave a decision without its coupon."""
    Coupon.objects.filter(user=person).delete()
    Campaign.objects.update(issued_count=F("issued_count") - 1)


def lose_the_effect(person: User) -> None:
    """Leave a delivery done that did nothing."""
    lose_the_coupon(person)
    IssueDecision.objects.filter(user=person).delete()


def miscount(person: User) -> None:
    """Count a coupon that is not there."""
    Campaign.objects.update(issued_count=F("issued_count") + 1)


def refuse_afterwards(person: User) -> None:
    """Change a decision though its coupon is issued."""
    decisions = IssueDecision.objects.filter(user=person)
    decisions.update(outcome="skipped", reason="sold_out")


def give_a_second_coupon(person: User) -> None:
    """Give somebody the coupon of another, besides their own."""
    Coupon.objects.exclude(user=person).update(user=person)


def mark_as_redeemed(person: User) -> None:
    """Call a coupon redeemed that was applied to no order."""
    Coupon.objects.filter(user=person).update(status="redeemed")


def forget_the_redemption(person: User) -> None:
    """Apply a coupon to an order and call it unused."""
    coupon = Coupon.objects.get(user=person)
    redeem(code=coupon.code, order_ref="A", order_amount=1000, by=person)
    drain_everything()
    Coupon.objects.filter(user=person).update(status="issued")


def close_unheard(person: User) -> None:
    """Tell of a closed account while it looks open, so that the delivery does nothing."""
    with transaction.atomic():
        account_closed.publish(AccountClosed(user_id=person.pk, reason="requested"))
    drain_everything()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (mark_as_redeemed, "redeemed without an order"),
        (forget_the_redemption, "redeemed without an order"),
        (close_unheard, "accounts are closed, but their coupons are not revoked"),
        (lose_the_coupon, "decisions to issue a coupon have none"),
        (lose_the_effect, "did not decide them"),
        (miscount, "campaigns count other than the coupons they issued"),
        (refuse_afterwards, "coupons do not follow from their decision"),
        (give_a_second_coupon, "accounts have several coupons of one campaign"),
    ],
)
def test_what_is_broken_is_told(harm: Callable[[User], None], said: str, person: User) -> None:
    harm(person)

    found = broken("--at-rest")

    assert set(found) == {"I3"}
    assert any(said in what for what in found["I3"])


def test_a_second_decision_is_told(person: User) -> None:
    with without_constraint(IssueDecision, "coupons_issuedecision_once_per_user"):
        make_decision(Campaign.objects.get(), person, outcome="skipped", reason="sold_out")

        assert broken() == {"I3": ["accounts have several decisions of one campaign"]}


def test_a_second_order_of_a_coupon_is_told(person: User) -> None:
    coupon = Coupon.objects.get(user=person)
    with without_constraint(Redemption, "coupons_redemption_one_applied"):
        redeem(code=coupon.code, order_ref="A", order_amount=1000, by=person)
        Redemption.objects.create(
            coupon=coupon, order_ref="B", order_amount=1, discount=1, redeemed_by=person
        )

        assert broken() == {"I3": ["coupons are applied to several orders"]}


def test_a_coupon_revoked_with_its_voided_decision_is_in_order(person: User, drain: Drain) -> None:
    close_account(user_id=person.pk, reason=CloseReason.REQUESTED)
    assert not {"I3"} & set(broken())

    drain()

    assert IssueDecision.objects.get(user=person).outcome == "voided"
    assert broken("--at-rest") == {}


def test_a_stock_that_was_exceeded_is_told(person: User) -> None:
    with without_constraint(Campaign, "coupons_campaign_issued_within_stock"):
        Campaign.objects.update(stock=1)

        assert broken() == {"I3": ["campaigns issued more coupons than their stock"]}


def test_refusals_are_decisions_too(drain: Drain) -> None:
    open_campaign_and_rule(drain)
    make_campaign(stock=1)
    make_campaign(status="paused")
    make_campaign(audience="invited")
    register("b@example.com")
    register("c@example.com")

    drain()

    assert set(IssueDecision.objects.values_list("reason", flat=True)) > {"sold_out", "not_invited"}
    assert broken("--at-rest") == {}


def test_campaigns_that_did_not_run_then_owe_no_decision(person: User, drain: Drain) -> None:
    soon, before = timezone.now() + timedelta(days=1), timezone.now() - timedelta(seconds=1)
    make_campaign(starts_at=soon)
    make_campaign(status="draft")
    make_campaign(status="archived")
    make_campaign(trigger="manual")
    make_campaign(ends_at=before)
    draft = make_campaign(status="draft")
    register("c@example.com")
    drain()

    # Made, or opened, only after everybody had signed up.
    make_campaign()
    draft.status = "active"
    draft.save()

    assert broken("--at-rest") == {}


def test_a_campaign_that_was_ended_is_asked_about_those_who_came_before(
    person: User, drain: Drain
) -> None:
    campaign = Campaign.objects.get()
    campaign.status = "ended"
    campaign.save()
    register("late@example.com")
    drain()
    assert broken("--at-rest") == {}

    lose_the_effect(person)

    assert set(broken("--at-rest")) == {"I3"}


def test_a_campaign_that_was_prolonged_owes_nothing_to_those_in_between(
    drain: Drain, staff: Client
) -> None:
    campaign = make_campaign(ends_at=timezone.now() - timedelta(seconds=1))
    register("between@example.com")
    drain()

    page = url(Campaign, "change", campaign.pk)
    changed = form_of(campaign, ends_at_0="2999-01-01", ends_at_1="00:00:00")
    assert staff.post(page, changed).status_code == 302

    assert broken("--at-rest") == {}
    after = register("after@example.com")
    drain()
    assert IssueDecision.objects.get().user == after
    lose_the_effect(after)
    assert set(broken("--at-rest")) == {"I3"}


@pytest.mark.parametrize("state", [DeliveryState.DEAD, DeliveryState.SKIPPED])
def test_a_registration_that_was_not_delivered_needs_no_decision(state: str, drain: Drain) -> None:
    open_campaign_and_rule(drain)
    other = register("b@example.com")
    finished_at = timezone.now() if state == DeliveryState.SKIPPED else None
    Delivery.objects.filter(receiver=WELCOME_RECEIVER, key=str(other.pk)).update(
        state=state, due_at=None, finished_at=finished_at, skipped_by="staff", last_error="x"
    )
    drain()

    assert not IssueDecision.objects.filter(user=other).exists()
    assert broken("--at-rest") == {}
