"""Many transactions at once want the same coupons."""

from functools import partial

import pytest
from django.db import transaction

from accounts.signals import UserRegistered
from coupons.models import Campaign, Coupon, IssueDecision
from coupons.services import decide_registration_campaigns
from events.envelope import Event
from events.models import Event as EventRow
from tests.coupons.factories import make_campaign
from tests.parallel import run_at_once
from tests.registrations import all_registered, make_people, make_person, registered

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 24


def decide(events: list[Event[UserRegistered]]) -> None:
    """Decide in a transaction of its own."""
    with transaction.atomic():
        decide_registration_campaigns(events)


def test_the_last_coupon_has_one_winner_and_the_rest_are_refused() -> None:
    last = make_campaign(stock=10, issued_count=9)
    open_one = make_campaign()
    events = all_registered(make_people(THREADS))

    run_at_once([partial(decide, [event]) for event in events])

    outcomes = IssueDecision.objects.filter(campaign=last).values_list("outcome", "reason")
    assert sorted(outcomes) == [("issued", "")] + [("skipped", "sold_out")] * (THREADS - 1)
    assert Campaign.objects.get(pk=last.pk).issued_count == 10
    assert Coupon.objects.filter(campaign=last).count() == 1
    assert Coupon.objects.filter(campaign=open_one).count() == THREADS
    assert EventRow.objects.filter(type="coupons.campaign_sold_out").count() == 1


def test_batches_at_once_share_the_stock() -> None:
    campaign = make_campaign(stock=50)
    events = all_registered(make_people(4 * THREADS))
    batches = [events[start::THREADS] for start in range(THREADS)]

    run_at_once([partial(decide, batch) for batch in batches])

    campaign.refresh_from_db()
    assert campaign.issued_count == Coupon.objects.count() == 50
    assert IssueDecision.objects.count() == len(events)


def test_the_same_account_at_once_gets_one_coupon() -> None:
    campaign, person = make_campaign(), make_person()

    run_at_once([partial(decide, [registered(person)]) for _ in range(THREADS)])

    campaign.refresh_from_db()
    assert campaign.issued_count == Coupon.objects.count() == 1


def test_editing_a_campaign_meanwhile_loses_no_count() -> None:
    campaign = make_campaign()
    events = all_registered(make_people(THREADS))

    run_at_once([partial(campaign.save), *(partial(decide, [event]) for event in events)])

    campaign.refresh_from_db()
    assert campaign.issued_count == Coupon.objects.count() == THREADS
