"""What a campaign held back or refused is decided again: in chunks, the earliest first."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models import User
from coupons import lifecycle, settling
from coupons.models import Campaign, Coupon, IssueDecision, ProcessedEvent
from coupons.signals import coupon_issue_skipped, coupon_issued
from events.models import Delivery, DeliveryState, Event
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_decision
from tests.registrations import close, flag, make_people, make_person

pytestmark = pytest.mark.django_db(transaction=True)


def make_refused(campaign: Campaign, number: int, reason: str) -> list[User]:
    """Let a campaign hold back, or refuse, so many people; return them in order of registration."""
    people = make_people(number)
    outcome = "skipped" if reason == "sold_out" else "held"
    IssueDecision.objects.bulk_create(
        IssueDecision(
            campaign=campaign, user=person, outcome=outcome, reason=reason, event_id=uuid7()
        )
        for person in people
    )
    return people


def outcomes(campaign: Campaign) -> list[tuple[str, str]]:
    """Return what was decided, in order of registration."""
    decisions = IssueDecision.objects.filter(campaign=campaign).order_by("event_id", "pk")
    return list(decisions.values_list("outcome", "reason"))


def count_of(type_: str) -> int:
    """Return how many events of a type there are."""
    return Event.objects.filter(type=type_).count()


def resume_after_a_pause(held: int = 3) -> Campaign:
    """Resume a campaign that held back coupons."""
    campaign = make_campaign(status="paused", stock=10)
    make_refused(campaign, held, "campaign_paused")
    return lifecycle.resume(campaign_id=campaign.pk)


def retry_after_more_stock(refused: int = 3) -> Campaign:
    """Ask for another try of people for whom there was no stock."""
    campaign = make_campaign(stock=10)
    make_refused(campaign, refused, "sold_out")
    lifecycle.retry_sold_out(campaign_id=campaign.pk)
    return campaign


def put_back(receiver: str) -> None:
    """Make the receiver's deliveries due again, as a replay or a retry does."""
    Delivery.objects.filter(receiver=receiver).update(
        state=DeliveryState.PENDING, due_at=Now(), finished_at=None
    )


each = pytest.mark.parametrize(
    ("act", "receiver"),
    [
        (resume_after_a_pause, "coupons.settle_held_decisions"),
        (retry_after_more_stock, "coupons.retry_sold_out_decisions"),
    ],
)


@each
def test_once(act: Callable[[], Campaign], receiver: str, drain: Drain) -> None:
    campaign = act()

    drain()

    campaign.refresh_from_db()
    assert outcomes(campaign) == [("issued", "")] * 3
    assert campaign.issued_count == Coupon.objects.count() == count_of(coupon_issued.type) == 3
    assert Delivery.objects.get(receiver=receiver).state == DeliveryState.DONE


@each
@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(
    act: Callable[[], Campaign], receiver: str, drain: Drain, inbox_is_lost: bool
) -> None:
    campaign = act()
    drain()
    put_back(receiver)
    if inbox_is_lost:
        ProcessedEvent.objects.all().delete()

    drain()

    campaign.refresh_from_db()
    assert campaign.issued_count == Coupon.objects.count() == count_of(coupon_issued.type) == 3


@each
def test_crash_then_retry(
    act: Callable[[], Campaign], receiver: str, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = act()

    with monkeypatch.context() as crashing:
        crashing.setattr(coupon_issue_skipped, "publish_many", crash)
        drain()
    assert Coupon.objects.count() == 0
    put_back(receiver)
    drain()

    assert outcomes(campaign) == [("issued", "")] * 3
    assert Coupon.objects.count() == 3


def crash(*args: object, **kwargs: object) -> None:
    """Fail after everything was written."""
    raise RuntimeError("crashed at the last moment")


@pytest.mark.parametrize("act", [resume_after_a_pause, retry_after_more_stock])
def test_a_long_list_is_settled_in_chunks(
    act: Callable[[int], Campaign], drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "CHUNK", 2)
    campaign = act(5)

    drain()

    assert outcomes(campaign) == [("issued", "")] * 5
    types = ["coupons.settlement_requested", "coupons.sold_out_retry_requested"]
    assert sum(map(count_of, types)) in {2, 3}


def test_resuming_issues_only_what_the_pause_held_back(drain: Drain) -> None:
    campaign = make_campaign(status="paused", stock=3)
    flagged = make_person()
    flag(flagged)
    make_decision(campaign, flagged, outcome="held", reason="account_flagged", event_id=uuid7())
    people = make_refused(campaign, 4, "campaign_paused")
    flag(people[0])
    close(people[1])

    lifecycle.resume(campaign_id=campaign.pk)
    drain()

    assert outcomes(campaign) == [
        ("held", "account_flagged"),
        ("held", "account_flagged"),
        ("voided", "account_closed"),
        ("issued", ""),
        ("issued", ""),
    ]


def test_resuming_with_too_little_stock_serves_the_earliest(drain: Drain) -> None:
    campaign = make_campaign(status="paused", stock=1)
    first, *_ = make_refused(campaign, 3, "campaign_paused")

    lifecycle.resume(campaign_id=campaign.pk)
    drain()

    assert outcomes(campaign) == [("issued", ""), ("skipped", "sold_out"), ("skipped", "sold_out")]
    assert Coupon.objects.get().user == first
    assert count_of("coupons.campaign_sold_out") == 1
    assert count_of(coupon_issue_skipped.type) == 2


def test_a_campaign_paused_again_meanwhile_goes_on_holding(drain: Drain) -> None:
    campaign = resume_after_a_pause()
    lifecycle.pause(campaign_id=campaign.pk)

    drain()

    assert outcomes(campaign) == [("held", "campaign_paused")] * 3


def test_ending_skips_all_that_was_held(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "CHUNK", 2)
    campaign = make_campaign(status="paused")
    make_refused(campaign, 3, "campaign_paused")
    [flagged, closed] = make_refused(campaign, 2, "account_flagged")
    flag(flagged)
    close(closed)

    lifecycle.end(campaign_id=campaign.pk)
    drain()

    assert outcomes(campaign) == [("skipped", "campaign_ended")] * 4 + [
        ("voided", "account_closed")
    ]
    assert count_of(coupon_issue_skipped.type) == 4
    assert not Coupon.objects.exists()


def test_more_stock_alone_issues_nothing(drain: Drain) -> None:
    campaign = make_campaign(stock=1, issued_count=1)
    make_refused(campaign, 3, "sold_out")

    lifecycle.change_stock(campaign_id=campaign.pk, stock=100)
    drain()

    assert outcomes(campaign) == [("skipped", "sold_out")] * 3


def test_a_retry_serves_the_earliest_while_stock_lasts(drain: Drain) -> None:
    campaign = make_campaign(stock=2)
    flagged, *_ = people = make_refused(campaign, 4, "sold_out")
    flag(flagged)

    lifecycle.retry_sold_out(campaign_id=campaign.pk)
    drain()

    assert outcomes(campaign) == [
        ("held", "account_flagged"),
        ("issued", ""),
        ("issued", ""),
        ("skipped", "sold_out"),
    ]
    assert set(Coupon.objects.values_list("user", flat=True)) == {p.pk for p in people[1:3]}
    assert count_of("coupons.campaign_sold_out") == 1
    assert count_of(coupon_issue_skipped.type) == 0  # those were told before


def test_a_retry_that_is_delivered_after_the_campaigns_end_issues_nothing(drain: Drain) -> None:
    campaign = retry_after_more_stock()
    Campaign.objects.filter(pk=campaign.pk).update(ends_at=timezone.now())

    drain()

    assert outcomes(campaign) == [("skipped", "sold_out")] * 3
    assert not Coupon.objects.exists()


@pytest.mark.parametrize("reason", ["campaign_paused", "sold_out"])
def test_the_number_of_queries_does_not_grow_with_that_of_decisions(reason: str) -> None:
    assert count_queries(reason, 2) == count_queries(reason, 60) <= 15


def count_queries(reason: str, number: int) -> int:
    """Return how many queries it takes to settle so many decisions."""
    campaign = make_campaign(stock=100)
    make_refused(campaign, number, reason)
    work: Callable[[UUID], None] = {
        "campaign_paused": lambda pk: settling.settle_held(campaign_id=pk),
        "sold_out": lambda pk: settling.settle_sold_out(campaign_id=pk),
    }[reason]
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        partial(work, campaign.pk)()
    return len([query for query in queries if "SAVEPOINT" not in query["sql"]])
