"""A checkout redeems a coupon and spends points: both, or neither, whatever happens between."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from coupons import redeeming
from coupons.models import Coupon, Redemption
from coupons.refusals import Refused
from events.delivery.drain import drain as drain_queue
from events.operations.invariants import Circumstances
from points import spending
from points.models import Entry, PointsAccount
from project import checkouts
from project.invariants import check_checkouts
from project.models import Checkout
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_coupon
from tests.parallel import run_at_once
from tests.points.factories import credit
from tests.registrations import make_person, make_service

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = "A-1042"
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Shop:
    """A person with a coupon and 100 points, and the service that sells them something."""

    person: User
    coupon: Coupon
    service: User

    def start(self, points: int = 60, *, code: str = "", order_amount: int = 5000) -> Checkout:
        terms = checkouts.Terms(
            code=code or self.coupon.code,
            order_ref=ORDER,
            order_amount=order_amount,
            points=points,
        )
        return checkouts.start(terms=terms, by=self.service)


@pytest.fixture
def shop() -> Shop:
    person = make_person()
    credit(person, 100)
    return Shop(
        person=person,
        coupon=make_coupon(make_campaign(), person),
        service=make_service("coupons.redeem_coupon", "points.spend_points"),
    )


def paid(shop: Shop) -> tuple[bool, int]:
    """Return whether the coupon is used, and how many points are left."""
    used = Redemption.objects.filter(coupon=shop.coupon, rolled_back_at=None).exists()
    return used, PointsAccount.objects.get(pk=shop.person.pk).balance


def test_both_are_taken(shop: Shop, drain: Drain) -> None:
    checkout = shop.start()

    drain()

    checkout.refresh_from_db()
    assert (checkout.state, checkout.reason) == ("completed", "")
    assert paid(shop) == (True, 40)
    assert Entry.objects.get(kind="spend").reason == f"checkout:{ORDER}"  # what its owner reads


def test_until_the_points_are_spent_it_is_pending(shop: Shop) -> None:
    checkout = shop.start()

    assert checkout.state == "pending"
    assert paid(shop) == (True, 100)


def test_without_the_points_the_coupon_is_given_back(shop: Shop, drain: Drain) -> None:
    checkout = shop.start(points=101)

    drain()

    checkout.refresh_from_db()
    assert (checkout.state, checkout.reason) == ("refused", "insufficient_points")
    assert paid(shop) == (False, 100)
    assert redeeming.validate(code=shop.coupon.code, order_amount=5000, by=shop.person).valid


def test_frozen_points_are_a_refusal(shop: Shop, drain: Drain) -> None:
    checkout = shop.start()
    PointsAccount.objects.update(frozen_at=timezone.now())

    drain()

    checkout.refresh_from_db()
    assert (checkout.state, checkout.reason) == ("refused", "account_frozen")
    assert paid(shop) == (False, 100)


def test_a_coupon_given_back_before_the_points_are_spent_is_a_refusal(
    shop: Shop, drain: Drain
) -> None:
    checkout = shop.start()
    redeeming.roll_back(redemption_id=checkout.redemption_id, by=shop.service)

    drain()

    checkout.refresh_from_db()
    assert (checkout.state, checkout.reason) == ("refused", "redemption_rolled_back")
    assert paid(shop) == (False, 100)


def test_when_the_coupon_is_given_back_so_are_the_points(shop: Shop, drain: Drain) -> None:
    checkout = shop.start()
    drain()

    redeeming.roll_back(redemption_id=checkout.redemption_id, by=shop.service)
    drain()

    checkout.refresh_from_db()
    assert checkout.state == "undone"
    assert paid(shop) == (False, 100)


def test_when_the_points_are_given_back_so_is_the_coupon(shop: Shop, drain: Drain) -> None:
    shop.start()
    drain()
    spent = Entry.objects.get(kind="spend")

    spending.roll_back_spend(entry_id=spent.pk, actor_id=shop.service.pk)
    drain()

    assert Checkout.objects.get().state == "undone"
    assert paid(shop) == (False, 100)
    assert Entry.objects.filter(kind="spend_rollback").count() == 1


def test_the_same_call_again_is_the_same_checkout(shop: Shop, drain: Drain) -> None:
    first = shop.start()
    drain()

    again = shop.start()
    drain()

    assert again.pk == first.pk
    assert paid(shop) == (True, 40)


@pytest.mark.parametrize(("points", "order_amount"), [(61, 5000), (60, 5001)])
def test_other_terms_for_the_same_order_are_refused(
    shop: Shop, points: int, order_amount: int
) -> None:
    shop.start()

    with pytest.raises(Refused):
        shop.start(points, order_amount=order_amount)

    assert Checkout.objects.get().points == 60


def test_of_many_at_once_one_pays(shop: Shop, drain: Drain) -> None:
    made = run_at_once([shop.start] * AT_ONCE)
    drain()

    assert len({checkout.pk for checkout in made}) == 1
    assert paid(shop) == (True, 40)


def test_two_coupons_do_not_pay_one_order(shop: Shop, drain: Drain) -> None:
    other = make_coupon(make_campaign(), shop.person)
    shop.start()

    with pytest.raises(Refused):
        shop.start(code=other.code)

    assert not Redemption.objects.filter(coupon=other).exists()


def test_the_same_call_after_a_refusal_is_the_refused_checkout(shop: Shop, drain: Drain) -> None:
    first = shop.start(points=101)
    drain()

    again = shop.start(points=101)

    assert (again.pk, again.state, again.reason) == (first.pk, "refused", "insufficient_points")
    assert paid(shop) == (False, 100)


@pytest.mark.parametrize("who", ["person", "service"])
def test_a_redemption_made_otherwise_is_not_taken_over(shop: Shop, drain: Drain, who: str) -> None:
    redeeming.redeem(
        code=shop.coupon.code, order_ref=ORDER, order_amount=5000, by=getattr(shop, who)
    )

    with pytest.raises(Refused) as refusal:
        shop.start()

    drain()
    assert refusal.value.code == "redeemed"
    assert not Checkout.objects.exists()
    assert paid(shop) == (True, 100)


def test_a_service_that_lost_its_permission_meanwhile_leaves_nothing_by_half(
    shop: Shop, drain: Drain
) -> None:
    shop.start(points=101)
    shop.service.user_permissions.clear()

    drain()

    assert Checkout.objects.get().state == "refused"
    assert paid(shop) == (False, 100)


def test_shops_cannot_take_the_references_of_checkouts(shop: Shop, api_client: APIClient) -> None:
    checkout = shop.start()
    api_client.force_authenticate(shop.service)
    order_ref = f"checkout:{checkout.order_ref}"

    answer = api_client.post(
        "/api/v1/points/spend/",
        {"user": str(shop.person.pk), "amount": 1, "order_ref": order_ref},
    )

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "reserved"


def test_paying_and_giving_the_coupon_back_at_once_end_with_both_or_neither(
    shop: Shop, drain: Drain
) -> None:
    checkout = shop.start()
    give_back = partial(redeeming.roll_back, redemption_id=checkout.redemption_id, by=shop.service)
    both: list[Callable[[], object]] = [give_back, partial(drain_queue, "project")]

    run_at_once(both)
    drain()

    checkout.refresh_from_db()
    assert checkout.state in {"refused", "undone"}
    assert paid(shop) == (False, 100)
    assert list(check_checkouts(Circumstances())) == []


def test_both_halves_given_back_at_once_are_given_back_once(shop: Shop, drain: Drain) -> None:
    checkout = shop.start()
    drain()
    spent = Entry.objects.get(kind="spend")
    both: list[Callable[[], object]] = [
        partial(redeeming.roll_back, redemption_id=checkout.redemption_id, by=shop.service),
        partial(spending.roll_back_spend, entry_id=spent.pk, actor_id=shop.service.pk),
    ]

    run_at_once(both)
    drain()

    checkout.refresh_from_db()
    assert checkout.state == "undone"
    assert paid(shop) == (False, 100)
    assert Entry.objects.filter(kind="spend_rollback").count() == 1


def test_the_api(shop: Shop, drain: Drain, api_client: APIClient) -> None:
    api_client.force_authenticate(shop.service)
    body = {"code": shop.coupon.code, "order_ref": ORDER, "order_amount": 5000, "points": 60}

    started = api_client.post("/api/v1/checkouts/", body, headers={"Idempotency-Key": "k"})
    again = api_client.post("/api/v1/checkouts/", body, headers={"Idempotency-Key": "k"})
    drain()
    now = api_client.get(f"/api/v1/checkouts/{started.json()['id']}/")

    assert started.status_code == again.status_code == 202
    assert again.content == started.content
    assert started.json() | {"id": ""} == {
        "id": "",
        "order_ref": ORDER,
        "user": str(shop.person.pk),
        "points": 60,
        "discount": 500,
        "state": "pending",
        "reason": None,
        "detail": None,
    }
    assert now.json()["state"] == "completed"


def test_the_api_is_for_shops(shop: Shop, api_client: APIClient) -> None:
    body = {"code": shop.coupon.code, "order_ref": ORDER, "order_amount": 5000, "points": 60}
    api_client.force_authenticate(shop.person)

    answer = api_client.post("/api/v1/checkouts/", body)

    assert answer.status_code == 403
    assert not Checkout.objects.exists()


def test_a_refusal_is_told_as_a_code_and_as_a_sentence(shop: Shop, drain: Drain) -> None:
    checkout = shop.start(points=101)
    drain()
    client = APIClient()
    client.force_authenticate(shop.service)

    answer = client.get(f"/api/v1/checkouts/{checkout.pk}/").json()

    assert answer["reason"] == "insufficient_points"
    assert answer["detail"] == "The account does not have enough points."


def test_a_checkout_that_was_not_refused_has_no_reason(shop: Shop) -> None:
    checkout = shop.start()
    client = APIClient()
    client.force_authenticate(shop.service)

    answer = client.get(f"/api/v1/checkouts/{checkout.pk}/").json()

    assert (answer["reason"], answer["detail"]) == (None, None)
