"""Many transactions at once want the same coupons."""

from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction

from accounts.signals import UserRegistered
from coupons.models import Campaign, Coupon, IssueDecision, Redemption
from coupons.redeeming import redeem, roll_back
from coupons.refusals import Refused
from coupons.services import decide_registration_campaigns
from events.delivery.conflict import repeated
from events.envelope import Event
from events.models import Event as EventRow
from tests.coupons.factories import make_campaign, make_coupon
from tests.parallel import run_at_once
from tests.registrations import all_registered, make_people, make_person, registered

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 24
MANY = 100


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


def test_of_a_hundred_the_last_coupon_has_one_winner() -> None:
    last = make_campaign(stock=1)
    events = all_registered(make_people(MANY))

    # As a drain does: who finds no connection free in the crowd asks again.
    run_at_once([partial(repeated, partial(decide, [event])) for event in events])

    assert Coupon.objects.count() == Campaign.objects.get(pk=last.pk).issued_count == 1
    assert IssueDecision.objects.filter(reason="sold_out").count() == MANY - 1


def try_to_redeem(coupon: Coupon, order_ref: str) -> str:
    """Redeem a coupon; return the redemption's id, or why there is none."""
    try:
        return str(
            redeem(code=coupon.code, order_ref=order_ref, order_amount=1000, by=coupon.user).pk
        )
    except Refused as refusal:
        return refusal.code


def test_of_a_hundred_orders_at_once_one_gets_the_coupon() -> None:
    coupon = make_coupon(make_campaign(), make_person())

    results = run_at_once([partial(try_to_redeem, coupon, f"A-{n}") for n in range(MANY)])

    assert sorted(results)[1:] == ["redeemed"] * (MANY - 1)
    assert str(Redemption.objects.get().pk) in results
    assert EventRow.objects.filter(type="coupons.coupon_redeemed").count() == 1


def test_the_same_order_at_once_gets_one_redemption() -> None:
    coupon = make_coupon(make_campaign(), make_person())

    results = run_at_once([partial(try_to_redeem, coupon, "A-1")] * THREADS)

    assert set(results) == {str(Redemption.objects.get().pk)}


def test_rollbacks_and_orders_at_once_leave_one_order_or_none() -> None:
    coupon = make_coupon(make_campaign(), make_person())
    first = redeem(code=coupon.code, order_ref="A-0", order_amount=1000, by=coupon.user)
    undo = partial(roll_back, redemption_id=first.pk, by=coupon.user)
    orders = [partial(try_to_redeem, coupon, f"A-{n}") for n in range(1, THREADS)]
    works: list[Callable[[], object]] = [undo, undo, *orders, undo]

    run_at_once(works)

    coupon.refresh_from_db()
    applied = Redemption.objects.filter(rolled_back_at__isnull=True).count()
    assert applied == (1 if coupon.status == "redeemed" else 0)
    assert EventRow.objects.filter(type="coupons.coupon_redemption_rolled_back").count() == 1


def test_an_order_asked_for_again_and_again_is_not_paid_after_its_rollback() -> None:
    coupon = make_coupon(make_campaign(), make_person())
    first = redeem(code=coupon.code, order_ref="A-1", order_amount=1000, by=coupon.user)
    undo: Callable[[], object] = partial(roll_back, redemption_id=first.pk, by=coupon.user)
    works: list[Callable[[], object]] = [partial(try_to_redeem, coupon, "A-1")] * THREADS

    results = run_at_once([*works, undo, *works])

    coupon.refresh_from_db()
    assert coupon.status == "issued"
    assert Redemption.objects.get().rolled_back_at
    assert set(results) - {str(first.pk), "order_undone"} == {results[THREADS]}


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
