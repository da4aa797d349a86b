"""What the wallet and the landing page read."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from coupons.queries import coupons_of, is_undecided, live_offer
from events.models import Delivery
from tests.coupons.factories import (
    make_campaign,
    make_coupon,
    make_decision,
    publish_registration,
)
from tests.registrations import make_people, make_person, refer

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def test_a_person_sees_their_own_coupons_newest_first() -> None:
    mei, other = make_people(2)
    older = make_coupon(make_campaign(name="Older"), mei)
    newer = make_coupon(
        make_campaign(
            name="Newer",
            terms="Once.",
            basis_points=None,
            amount=500,
            currency="EUR",
            min_spend=2000,
        ),
        mei,
        suspended_at=timezone.now(),
    )
    make_coupon(make_campaign(), other)

    first, second = coupons_of(mei.pk)

    assert (first.code, first.campaign, first.terms) == (newer.code, "Newer", "Once.")
    assert (first.state, first.state_label) == ("suspended", "suspended")
    assert first.benefit == "5.00 EUR off"
    assert first.minimum == "for orders of 20.00 EUR or more"
    assert (first.valid_from, first.valid_until) == (newer.valid_from, newer.valid_until)
    assert (second.code, second.state, second.minimum) == (older.code, "usable", "")


def test_only_the_newest_coupons_are_listed() -> None:
    mei = make_person()
    for _ in range(3):
        make_coupon(make_campaign(), mei)

    assert len(coupons_of(mei.pk, limit=2)) == 2


def test_a_coupon_is_on_its_way_until_it_is_decided() -> None:
    campaign, mei = make_campaign(), make_person()
    publish_registration(mei)

    assert is_undecided(mei.pk)
    make_decision(campaign, mei, outcome="skipped", reason="sold_out")
    assert not is_undecided(mei.pk)


def test_nothing_is_on_its_way_without_a_campaign() -> None:
    mei = make_person()
    publish_registration(mei)

    assert not is_undecided(mei.pk)


def test_nothing_is_on_its_way_once_the_delivery_is_finished() -> None:
    mei, other = make_people(2)
    publish_registration(mei)
    publish_registration(other)
    Delivery.objects.filter(key=str(mei.pk)).update(
        state="done", due_at=None, finished_at=timezone.now()
    )

    make_campaign()  # as if it had run then

    assert not is_undecided(mei.pk)
    assert is_undecided(other.pk)


@pytest.mark.parametrize("state", ["waiting", "dead"])
def test_a_delivery_that_waits_or_is_dead_still_owes(state: str) -> None:
    make_campaign()
    mei = make_person()
    publish_registration(mei)
    Delivery.objects.update(state=state, due_at=None)

    assert is_undecided(mei.pk)


def test_a_delivery_that_somebody_skipped_owes_nothing() -> None:
    make_campaign()
    mei = make_person()
    publish_registration(mei)
    Delivery.objects.update(
        state="skipped", due_at=None, finished_at=timezone.now(), skipped_by="staff"
    )

    assert not is_undecided(mei.pk)


def test_nothing_is_on_its_way_to_somebody_who_never_registered() -> None:
    make_campaign()
    staff = User.objects.create_user("staff@example.com")

    assert not is_undecided(staff.pk)
    assert not is_undecided(staff.pk.__class__(int=7))


def test_a_campaign_that_began_later_owes_nothing() -> None:
    mei = make_person()
    publish_registration(mei)
    make_campaign(starts_at=timezone.now())

    assert not is_undecided(mei.pk)


def test_a_campaign_that_ended_since_still_owes() -> None:
    mei = make_person()
    publish_registration(mei)
    make_campaign(ends_at=timezone.now())

    assert is_undecided(mei.pk)


def test_a_campaign_for_invited_people_owes_only_them() -> None:
    mei, inviter, other = make_people(3)
    make_campaign(audience="invited")
    refer(mei, inviter)
    for person in (mei, other):
        publish_registration(person)

    assert is_undecided(mei.pk)
    assert not is_undecided(other.pk)


def test_there_is_no_offer_without_a_live_campaign() -> None:
    make_campaign(status="draft")
    make_campaign(status="paused")
    make_campaign(trigger="manual")
    make_campaign(ends_at=timezone.now())
    make_campaign(starts_at=timezone.now() + HOUR)
    make_campaign(stock=5, issued_count=5)

    assert live_offer() is None


def test_the_offer_is_that_of_the_live_campaign_that_began_last() -> None:
    now = timezone.now()
    make_campaign(name="Older", starts_at=now - 2 * HOUR)
    campaign = make_campaign(
        name="Newer",
        description="Ten percent for you.",
        terms="Once.",
        starts_at=now - HOUR,
        ends_at=now + HOUR,
        cap=3000,
        currency="EUR",
    )
    make_campaign(audience="invited", starts_at=now)

    offer = live_offer()

    assert offer is not None
    assert (offer.campaign_id, offer.name) == (campaign.pk, "Newer")
    assert (offer.description, offer.terms) == ("Ten percent for you.", "Once.")
    assert (offer.benefit, offer.minimum) == ("10% off, at most 30.00 EUR", "")
    assert offer.ends_at == campaign.ends_at


def test_invited_people_are_offered_theirs() -> None:
    make_campaign(name="For all")

    assert getattr(live_offer(invited=True), "name", None) == "For all"
    make_campaign(name="For you", audience="invited", starts_at=timezone.now() - 100 * HOUR)
    assert getattr(live_offer(invited=True), "name", None) == "For you"
    assert getattr(live_offer(), "name", None) == "For all"
