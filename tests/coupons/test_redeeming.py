"""Using a coupon for an order: once, by those who may, and undone once."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from accounts.models import User
from coupons.models import Campaign, Coupon, IssueDecision, Redemption
from coupons.redeeming import NotFound, Quote, discount_of, redeem, roll_back, validate
from coupons.redemptions import MAX_ORDER_AMOUNT
from coupons.refusals import Refused
from events.models import Event
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import close, flag, make_person

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
FIXED: dict[str, Any] = {"basis_points": None, "amount": 500, "currency": "EUR"}


@pytest.fixture
def shop() -> User:
    """Return the account of a service that may redeem anybody's coupons."""
    account = make_person()
    account.user_permissions.add(Permission.objects.get(codename="redeem_coupon"))
    return account


@pytest.fixture
def coupon() -> Coupon:
    """Return a usable coupon of 10 % for orders from 10.00 EUR."""
    return make_coupon(make_campaign(min_spend=1000, currency="EUR"), make_person())


def use(coupon: Coupon, by: User | None = None, **given: Any) -> Redemption:
    """Redeem a coupon, by its owner if nobody is named."""
    order: dict[str, Any] = {"order_ref": "A-1", "order_amount": 4999} | given
    return redeem(code=coupon.code, by=by or coupon.user, **order)


def refusal_of(coupon: Coupon, **given: Any) -> Refused:
    """Return why a coupon is not redeemed, after a look that nothing was changed."""
    before = Coupon.objects.values().get(pk=coupon.pk), Redemption.objects.count()
    with pytest.raises(Refused) as refusal:
        use(coupon, **given)
    assert (Coupon.objects.values().get(pk=coupon.pk), Redemption.objects.count()) == before
    assert refusal.value.sentence
    return refusal.value


def published(type_: str) -> list[dict[str, Any]]:
    """Return the data of the events of a type."""
    return [event.data for event in Event.objects.filter(type=f"coupons.{type_}")]


@pytest.mark.parametrize(
    ("benefit", "order_amount", "discount"),
    [
        ({"amount": 500}, 4999, 500),
        ({"amount": 500}, 499, 499),
        ({"basis_points": 1000}, 4999, 499),
        ({"basis_points": 1250}, 79, 9),
        ({"basis_points": 1000}, 9, 0),
        ({"basis_points": 10_000}, 4999, 4999),
        ({"basis_points": 1000, "cap": 300}, 4999, 300),
        ({"basis_points": 9999}, MAX_ORDER_AMOUNT, 999_900_000_000),
    ],
)
def test_the_discount_is_rounded_down_and_bounded(
    benefit: dict[str, int], order_amount: int, discount: int
) -> None:
    assert discount_of(Campaign(**benefit), order_amount) == discount


@given(
    basis_points=st.integers(1, 10_000),
    cap=st.none() | st.integers(1, 10**12),
    order_amount=st.integers(1, MAX_ORDER_AMOUNT),
)
def test_no_discount_is_more_than_promised(
    basis_points: int, cap: int | None, order_amount: int
) -> None:
    discount = discount_of(Campaign(basis_points=basis_points, cap=cap), order_amount)

    assert 0 <= discount <= order_amount
    assert discount * 10_000 <= order_amount * basis_points
    assert cap is None or discount <= cap


def test_a_question_changes_nothing(coupon: Coupon) -> None:
    quote = validate(code=coupon.code, order_amount=4999, by=coupon.user)

    coupon.refresh_from_db()
    assert quote == Quote(valid=True, discount=499, reason=None)
    assert coupon.status == "issued"
    assert not Redemption.objects.exists()
    assert not Event.objects.exists()


def test_a_coupon_is_redeemed_by_its_owner(coupon: Coupon) -> None:
    redemption = use(coupon)

    coupon.refresh_from_db()
    assert coupon.status == "redeemed"
    assert (redemption.discount, redemption.currency) == (499, "EUR")
    assert redemption.redeemed_by == coupon.user
    assert published("coupon_redeemed") == [
        {
            "redemption_id": str(redemption.pk),
            "coupon_id": str(coupon.pk),
            "campaign_id": str(coupon.campaign_id),
            "user_id": str(coupon.user_id),
            "order_amount": 4999,
            "discount": 499,
            "currency": "EUR",
        }
    ]
    assert Event.objects.get().key == str(coupon.user_id)


def test_a_service_with_the_permission_redeems_anybodys(coupon: Coupon, shop: User) -> None:
    redemption = use(coupon, by=shop)

    assert redemption.redeemed_by == shop
    assert Event.objects.get().key == str(coupon.user_id)


def test_a_code_may_be_typed_as_people_do(coupon: Coupon) -> None:
    typed = f" {coupon.code[:4]}-{coupon.code[4:]}".lower()

    assert redeem(code=typed, order_ref="A", order_amount=4999, by=coupon.user).coupon == coupon


def test_the_same_order_again_gets_the_same_redemption(coupon: Coupon) -> None:
    first = use(coupon)

    assert use(coupon) == first
    assert len(published("coupon_redeemed")) == 1


def test_the_same_order_gets_its_answer_when_the_coupon_has_expired_since(coupon: Coupon) -> None:
    first = use(coupon)
    Coupon.objects.update(valid_until=timezone.now())
    flag(coupon.user)

    assert use(coupon) == first


def test_the_same_order_with_another_amount_is_refused(coupon: Coupon) -> None:
    use(coupon)

    assert refusal_of(coupon, order_amount=5000).code == "order_amount_differs"


def test_another_order_is_refused(coupon: Coupon) -> None:
    use(coupon)

    assert refusal_of(coupon, order_ref="A-2").code == "redeemed"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"status": "revoked"}, "revoked"),
        ({"suspended_at": timezone.now()}, "suspended"),
        ({"valid_from": timezone.now() - 2 * DAY, "valid_until": timezone.now() - DAY}, "expired"),
        ({"valid_from": timezone.now() + DAY, "valid_until": timezone.now() + 2 * DAY}, "upcoming"),
        ({"min_spend": 5000, "currency": "EUR"}, "min_spend"),
        # Expired tells more than suspended or too small an order: it stays so.
        ({"valid_until": timezone.now() - DAY / 2, "suspended_at": timezone.now()}, "expired"),
    ],
)
def test_a_coupon_that_is_not_usable_is_refused_and_says_why(
    columns: dict[str, Any], reason: str
) -> None:
    coupon = make_coupon(make_campaign(), make_person(), **columns)

    assert refusal_of(coupon).code == reason
    quote = validate(code=coupon.code, order_amount=4999, by=coupon.user)
    assert quote == Quote(valid=False, discount=0, reason=reason)


def test_a_minimum_is_named(coupon: Coupon) -> None:
    refusal = refusal_of(coupon, order_amount=999)

    assert refusal.sentence == "This coupon is for orders of 10.00 EUR or more."
    assert use(coupon, order_amount=1000)


@pytest.mark.parametrize(("change", "reason"), [(flag, "suspended"), (close, "revoked")])
def test_an_account_counts_as_it_is_before_its_event_arrives(
    coupon: Coupon, shop: User, change: Any, reason: str
) -> None:
    change(coupon.user)

    assert refusal_of(coupon, by=shop).code == reason
    assert validate(code=coupon.code, order_amount=4999, by=shop).reason == reason


@pytest.mark.parametrize("typing_error", [False, True])
def test_anybody_elses_code_looks_like_one_that_does_not_exist(
    coupon: Coupon, typing_error: bool
) -> None:
    code = coupon.code[:-1] if typing_error else coupon.code
    stranger = make_person()

    for ask in (
        lambda: validate(code=code, order_amount=4999, by=stranger),
        lambda: redeem(code=code, order_ref="A", order_amount=4999, by=stranger),
        lambda: redeem(code="nonsense", order_ref="A", order_amount=4999, by=stranger),
    ):
        with pytest.raises(NotFound) as refusal:
            ask()
        assert refusal.value.code == "unknown_code"
        assert refusal.value.sentence == "There is no coupon of yours with this code."


def test_a_service_is_told_a_mistyped_code_from_an_unknown_one(coupon: Coupon, shop: User) -> None:
    mistyped = coupon.code[:-1] + ("2" if coupon.code[-1] != "2" else "3")
    unknown = coupon.code
    IssueDecision.objects.all()
    Coupon.objects.all().delete()

    for code, expected in ((mistyped, "mistyped_code"), (unknown, "unknown_code")):
        with pytest.raises(NotFound) as refusal:
            validate(code=code, order_amount=1, by=shop)
        assert refusal.value.code == expected


def test_a_rollback_makes_the_coupon_usable_again(coupon: Coupon) -> None:
    redemption = use(coupon)

    undone = roll_back(redemption_id=redemption.pk, by=coupon.user)

    coupon.refresh_from_db()
    assert (coupon.status, coupon.suspended_at) == ("issued", None)
    assert undone.rolled_back_at
    assert undone.rolled_back_by == coupon.user
    assert published("coupon_redemption_rolled_back") == [
        {
            "redemption_id": str(redemption.pk),
            "coupon_id": str(coupon.pk),
            "campaign_id": str(coupon.campaign_id),
            "user_id": str(coupon.user_id),
        }
    ]
    assert use(coupon, order_ref="A-2") != redemption


def test_an_order_that_was_undone_stays_undone_though_its_call_comes_again(
    coupon: Coupon, shop: User
) -> None:
    roll_back(redemption_id=use(coupon).pk, by=coupon.user)

    for by in (coupon.user, shop):
        refusal = refusal_of(coupon, by=by)
        assert refusal.code == "order_undone"
        assert "undone" in refusal.sentence
    again = use(coupon, order_ref="A-2")
    assert refusal_of(coupon).code == "order_undone"
    roll_back(redemption_id=again.pk, by=coupon.user)
    assert refusal_of(coupon, order_ref="A-2").code == "order_undone"
    assert len(published("coupon_redeemed")) == 2


def test_an_undone_order_of_another_coupon_does_not_matter(coupon: Coupon) -> None:
    other = make_coupon(make_campaign(), coupon.user)
    roll_back(redemption_id=use(other).pk, by=coupon.user)

    assert use(coupon).order_ref == "A-1"


def test_a_coupon_is_not_used_up_for_nothing() -> None:
    coupon = make_coupon(make_campaign(basis_points=100), make_person())

    assert refusal_of(coupon, order_amount=99).code == "no_discount"
    quote = validate(code=coupon.code, order_amount=99, by=coupon.user)
    assert quote == Quote(valid=False, discount=0, reason="no_discount")
    assert use(coupon, order_amount=100).discount == 1


def test_a_second_rollback_changes_nothing_though_the_coupon_is_used_again(coupon: Coupon) -> None:
    redemption = use(coupon)
    first = roll_back(redemption_id=redemption.pk, by=coupon.user)
    again = use(coupon, order_ref="A-2")

    second = roll_back(redemption_id=redemption.pk, by=coupon.user)

    coupon.refresh_from_db()
    again.refresh_from_db()
    assert (second, second.rolled_back_at) == (first, first.rolled_back_at)
    assert (coupon.status, again.rolled_back_at) == ("redeemed", None)
    assert len(published("coupon_redemption_rolled_back")) == 1


def test_a_coupon_that_has_expired_meanwhile_stays_expired(coupon: Coupon) -> None:
    redemption = use(coupon)
    Coupon.objects.update(valid_until=timezone.now())

    roll_back(redemption_id=redemption.pk, by=coupon.user)

    assert refusal_of(coupon, order_ref="A-2").code == "expired"


def test_a_coupon_whose_owner_closed_their_account_meanwhile_is_revoked(
    coupon: Coupon, shop: User
) -> None:
    redemption = use(coupon)
    close(coupon.user)

    roll_back(redemption_id=redemption.pk, by=shop)

    coupon.refresh_from_db()
    assert (coupon.status, coupon.decision.outcome) == ("revoked", "voided")
    assert [data["reason"] for data in published("coupon_revoked")] == ["account_closed"]
    roll_back(redemption_id=redemption.pk, by=shop)
    assert len(published("coupon_revoked")) == 1


def test_a_coupon_whose_owner_is_under_review_comes_back_suspended(
    coupon: Coupon, shop: User
) -> None:
    redemption = use(coupon)
    flag(coupon.user)

    roll_back(redemption_id=redemption.pk, by=shop)

    coupon.refresh_from_db()
    assert (coupon.status, bool(coupon.suspended_at)) == ("issued", True)


def test_nobody_undoes_what_a_shop_redeemed_but_a_shop(coupon: Coupon, shop: User) -> None:
    redemption = use(coupon, by=shop)

    for by, pk in ((coupon.user, redemption.pk), (make_person(), redemption.pk), (shop, uuid7())):
        with pytest.raises(NotFound) as refusal:
            roll_back(redemption_id=pk, by=by)
        assert refusal.value.code == "unknown_redemption"
    coupon.refresh_from_db()
    assert coupon.status == "redeemed"


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({}, "coupons_redemption_one_applied|coupons_redemption.coupon_id"),
        ({"order_ref": ""}, "coupons_redemption_has_order"),
        ({"order_amount": 0, "discount": 0}, "coupons_redemption_amount_in_range"),
        ({"order_amount": MAX_ORDER_AMOUNT + 1}, "coupons_redemption_amount_in_range"),
        ({"discount": 4990 + 1}, "coupons_redemption_discount_within_order"),
        ({"rolled_back_at": timezone.now()}, "coupons_redemption_rolled_back_by_somebody"),
    ],
)
def test_the_database_refuses(coupon: Coupon, columns: dict[str, Any], constraint: str) -> None:
    given = {
        "coupon": coupon,
        "order_ref": "A",
        "order_amount": 4990,
        "discount": 1,
        "redeemed_by": coupon.user,
    }
    if not columns:
        Redemption.objects.create(**given)

    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Redemption.objects.create(**given | columns)
