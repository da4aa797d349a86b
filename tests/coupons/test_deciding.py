"""How registration campaigns decide about new accounts."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import codes
from accounts.models import User
from accounts.signals import UserRegistered
from coupons import issuing
from coupons.models import CODE_LENGTH, Campaign, Coupon, IssueDecision
from coupons.services import decide_registration_campaigns
from events.envelope import Event
from events.models import Event as EventRow
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import (
    all_registered,
    close,
    flag,
    make_people,
    make_person,
    registered,
)

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def decide(*events: Event[UserRegistered]) -> None:
    """Decide in a transaction, as a drain does."""
    with transaction.atomic():
        decide_registration_campaigns(events)


def outcome(campaign: Campaign, user: User) -> tuple[str, str] | None:
    """Return what was decided, or None."""
    decisions = IssueDecision.objects.filter(campaign=campaign, user=user)
    return decisions.values_list("outcome", "reason").first()


def published(type_: str) -> list[EventRow]:
    """Return the events of a type, in order."""
    return list(EventRow.objects.filter(type=type_).order_by("position"))


def test_a_new_account_gets_a_coupon() -> None:
    campaign = make_campaign(
        basis_points=None, amount=500, currency="EUR", min_spend=2000, valid_days=30
    )
    person = make_person()
    event = registered(person)

    decide(event)

    coupon = Coupon.objects.get()
    assert (coupon.user, coupon.campaign, coupon.status) == (person, campaign, "issued")
    assert codes.is_well_formed(coupon.code, CODE_LENGTH)
    assert coupon.terms_of_benefit() == campaign.terms_of_benefit()
    assert coupon.valid_from == coupon.issued_at
    assert coupon.valid_until > coupon.valid_from + timedelta(days=30)
    decision = coupon.decision
    assert (decision.outcome, decision.reason, decision.event_id) == ("issued", "", event.id)
    campaign.refresh_from_db()
    assert campaign.issued_count == 1


def test_an_issued_coupon_is_published_with_its_cause() -> None:
    campaign, person = make_campaign(), make_person()
    event = registered(person)

    decide(event)

    (row,) = published("coupons.coupon_issued")
    assert row.key == str(person.pk)
    assert (row.causation_id, row.correlation_id) == (event.id, event.correlation_id)
    assert row.data == {
        "coupon_id": str(Coupon.objects.get().pk),
        "campaign_id": str(campaign.pk),
        "user_id": str(person.pk),
    }


def test_deciding_again_changes_nothing() -> None:
    campaign = make_campaign()
    event = registered(make_person())
    decide(event)

    decide(event)

    campaign.refresh_from_db()
    assert (campaign.issued_count, Coupon.objects.count()) == (1, 1)
    assert len(published("coupons.coupon_issued")) == 1


def test_another_event_about_the_same_account_changes_nothing() -> None:
    campaign, person = make_campaign(), make_person()
    decide(registered(person))

    decide(registered(person), registered(person))

    campaign.refresh_from_db()
    assert (campaign.issued_count, Coupon.objects.count()) == (1, 1)


def test_an_account_twice_in_a_batch_gets_one_coupon() -> None:
    make_campaign()
    person = make_person()
    first, second = registered(person), registered(person)

    decide(second, first)

    assert IssueDecision.objects.get().event_id == first.id


def test_nothing_runs_nothing_is_decided() -> None:
    decide(registered(make_person()))

    assert not IssueDecision.objects.exists()


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "draft"},
        {"status": "ended"},
        {"status": "archived"},
        {"trigger": "manual"},
        {"starts_at": timezone.now() + timedelta(days=1)},
        {"ends_at": timezone.now() - timedelta(days=1)},
    ],
)
def test_a_campaign_that_does_not_run_decides_nothing(columns: dict[str, object]) -> None:
    campaign, person = make_campaign(**columns), make_person()

    decide(registered(person))

    assert outcome(campaign, person) is None


def test_a_campaign_is_judged_at_the_moment_of_registration() -> None:
    end = timezone.now() - HOUR
    campaign = make_campaign(ends_at=end)
    early, late = make_people(2)

    decide(registered(early, at=end - timedelta(microseconds=1)), registered(late, at=end))

    assert outcome(campaign, early) == ("issued", "")
    assert outcome(campaign, late) is None


def test_a_campaign_ended_by_staff_still_decides_about_earlier_registrations() -> None:
    campaign = make_campaign()
    early, late = make_people(2)
    before = registered(early)
    campaign.status = "ended"
    campaign.save()

    decide(before, registered(late))

    assert outcome(campaign, early) == ("issued", "")
    assert outcome(campaign, late) is None


def test_a_registration_during_a_pause_is_skipped() -> None:
    campaign, person = make_campaign(), make_person()
    campaign.status = "paused"
    campaign.save()
    event = registered(person)
    campaign.status = "active"
    campaign.save()

    decide(event)

    assert outcome(campaign, person) == ("skipped", "campaign_paused")


def test_a_coupon_owed_since_before_a_pause_is_held() -> None:
    campaign, person = make_campaign(stock=1), make_person()
    event = registered(person)
    campaign.status = "paused"
    campaign.save()

    decide(event)

    assert outcome(campaign, person) == ("held", "campaign_paused")
    campaign.refresh_from_db()
    assert campaign.issued_count == 0


def test_a_campaign_for_invited_people_skips_others() -> None:
    campaign = make_campaign(audience="invited")
    inviter, invited, other = make_people(3)

    decide(registered(invited, inviter=inviter), registered(other))

    assert outcome(campaign, invited) == ("issued", "")
    assert outcome(campaign, other) == ("skipped", "not_invited")


def test_a_flagged_account_is_held() -> None:
    campaign, person = make_campaign(), make_person()
    flag(person)

    decide(registered(person))

    assert outcome(campaign, person) == ("held", "account_flagged")
    assert not Coupon.objects.exists()


def test_a_closed_account_is_voided() -> None:
    campaign, person = make_campaign(), make_person()
    close(person)

    decide(registered(person))

    assert outcome(campaign, person) == ("voided", "account_closed")
    assert not Coupon.objects.exists()


def test_a_coupon_that_would_be_invalid_already_is_skipped() -> None:
    now = timezone.now()
    campaign = make_campaign(valid_days=None, valid_from=now - 2 * HOUR, valid_until=now - HOUR)
    person = make_person()

    decide(registered(person))

    assert outcome(campaign, person) == ("skipped", "validity_over")


def test_a_sold_out_campaign_does_not_block_another() -> None:
    sold_out = make_campaign(stock=1, issued_count=1)
    open_one = make_campaign()
    person = make_person()

    decide(registered(person))

    assert outcome(sold_out, person) == ("skipped", "sold_out")
    assert outcome(open_one, person) == ("issued", "")


def test_a_skipped_coupon_is_published_with_its_cause() -> None:
    campaign, person = make_campaign(stock=0), make_person()
    event = registered(person)

    decide(event)

    (row,) = published("coupons.coupon_issue_skipped")
    assert (row.key, row.causation_id) == (str(person.pk), event.id)
    assert row.data == {
        "campaign_id": str(campaign.pk),
        "user_id": str(person.pk),
        "reason": "sold_out",
    }


def test_the_last_coupons_go_to_the_earliest_registrations() -> None:
    campaign = make_campaign(stock=2)
    people = make_people(4)
    events = all_registered(people)

    decide(*reversed(events))

    outcomes = [outcome(campaign, person) for person in people]
    assert outcomes == [("issued", "")] * 2 + [("skipped", "sold_out")] * 2


def test_an_account_on_hold_does_not_use_up_stock() -> None:
    campaign = make_campaign(stock=1)
    flagged, other = make_people(2)
    flag(flagged)

    decide(*all_registered([flagged, other]))

    assert outcome(campaign, other) == ("issued", "")


def test_selling_out_is_published_once_with_its_cause() -> None:
    campaign = make_campaign(stock=2)
    events = all_registered(make_people(4))

    decide(*events[:1])
    decide(*events[1:])
    decide(*all_registered(make_people(2)))

    (row,) = published("coupons.campaign_sold_out")
    assert (row.key, row.causation_id) == (str(campaign.pk), events[1].id)
    assert row.data == {"campaign_id": str(campaign.pk), "stock": 2}


def test_an_unlimited_campaign_never_sells_out() -> None:
    campaign = make_campaign(stock=None)

    decide(*all_registered(make_people(30)))

    campaign.refresh_from_db()
    assert campaign.issued_count == Coupon.objects.count() == 30
    assert not published("coupons.campaign_sold_out")


def test_stock_changed_past_the_lock_is_noticed() -> None:
    campaign = make_campaign(stock=2)
    Campaign.objects.update(issued_count=2)

    with pytest.raises(issuing.StockChanged), transaction.atomic():
        issuing.take_stock(campaign, 1)


def test_the_number_of_queries_does_not_grow_with_that_of_events() -> None:
    make_campaign(stock=200)
    make_campaign(audience="invited")
    make_coupon(make_campaign(trigger="manual"), make_person())

    assert count_queries(1) == count_queries(50) <= 12


def count_queries(people: int) -> int:
    """Return how many queries it takes to decide about so many new accounts."""
    events = all_registered(make_people(people))
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        decide_registration_campaigns(events)
    return len([query for query in queries if "SAVEPOINT" not in query["sql"]])
