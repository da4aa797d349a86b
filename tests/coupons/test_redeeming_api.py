"""`POST coupons/{code}/validate/`, `coupons/{code}/redeem/` and `redemptions/{id}/rollback/`."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from coupons import limits
from coupons.models import Coupon, Redemption
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

ORDER = {"order_ref": "A-1042", "order_amount": 4990}


@pytest.fixture
def coupon(api_client: APIClient) -> Coupon:
    """Return a usable coupon of 10 %, whose owner's client is logged in."""
    found = make_coupon(make_campaign(), make_person())
    api_client.force_authenticate(found.user)
    return found


@pytest.fixture
def limit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that sets the limits of code lookups, counted from zero."""
    settings.RATE_LIMITS = "on"
    cache.clear()
    yield lambda rates: monkeypatch.setitem(limits.LOOKUPS, "code_lookup", rates)
    cache.clear()


def post(client: APIClient, path: str, status: int, body: Any = None) -> dict[str, Any]:
    """Post, check the status, return the document."""
    answer = client.post(f"/api/v1/{path}/", body or {})
    assert answer.status_code == status, answer.content
    if status >= 400:
        assert answer["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    return document


def log_in_shop(client: APIClient) -> User:
    """Log a service in that may redeem anybody's coupons."""
    shop = make_person()
    shop.user_permissions.add(Permission.objects.get(codename="redeem_coupon"))
    client.force_authenticate(shop)
    return shop


def test_a_question(api_client: APIClient, coupon: Coupon) -> None:
    answer = post(api_client, f"coupons/{coupon.code}/validate", 200, {"order_amount": 4990})

    assert answer == {"valid": True, "discount": 499, "reason": None}


def test_a_use_and_its_undoing(api_client: APIClient, coupon: Coupon) -> None:
    used = post(api_client, f"coupons/{coupon.code}/redeem", 201, ORDER)
    undone = post(api_client, f"redemptions/{used['id']}/rollback", 201)

    redemption = Redemption.objects.get()
    assert used == {
        "id": str(redemption.pk),
        "code": coupon.code,
        "order_ref": "A-1042",
        "discount": 499,
    }
    assert undone == used | {"rolled_back_at": undone["rolled_back_at"]}
    assert post(api_client, f"redemptions/{used['id']}/rollback", 201) == undone


def test_the_same_order_again_gets_the_same_answer_and_another_is_refused(
    api_client: APIClient, coupon: Coupon
) -> None:
    path = f"coupons/{coupon.code}/redeem"
    used = post(api_client, path, 201, ORDER)

    assert post(api_client, path, 201, ORDER) == used
    problem = post(api_client, path, 409, ORDER | {"order_ref": "A-1043"})
    assert problem["code"] == "redeemed"
    assert problem["detail"] == "This coupon has been used already."


def test_a_stranger_learns_nothing(api_client: APIClient, coupon: Coupon) -> None:
    api_client.force_authenticate(make_person())

    for code in (coupon.code, "ABC", coupon.code[::-1], "a/b", "%00", "é", " "):
        for call, body in (("validate", {"order_amount": 1}), ("redeem", ORDER)):
            answer = api_client.post(f"/api/v1/coupons/{code}/{call}/", body)
            assert answer.status_code in {400, 404}
            assert answer.json()["code"] in {"unknown_code", "not_found", "bad_request"}
    assert not Redemption.objects.exists()


def test_a_shop_uses_and_undoes_anybodys_coupon(api_client: APIClient, coupon: Coupon) -> None:
    log_in_shop(api_client)

    used = post(api_client, f"coupons/{coupon.code}/redeem", 201, ORDER)

    problem = post(api_client, "coupons/ABCD/redeem", 404, ORDER)
    assert problem["code"] == "mistyped_code"
    assert post(api_client, f"redemptions/{used['id']}/rollback", 201)


@pytest.mark.parametrize("by_owner", [True, False])
def test_an_unknown_redemption(api_client: APIClient, coupon: Coupon, by_owner: bool) -> None:
    if not by_owner:
        log_in_shop(api_client)

    problem = post(api_client, f"redemptions/{uuid4()}/rollback", 404)

    assert problem["code"] == "unknown_redemption"
    assert post(api_client, "redemptions/1/rollback", 404)["code"] == "not_found"


@pytest.mark.parametrize(
    "order_amount", [None, 0, -1, 10**12 + 1, 1.0, "1", True, [1], {"amount": 1}, 10**400]
)
def test_an_amount_is_a_whole_number_within_bounds(
    api_client: APIClient, coupon: Coupon, order_amount: Any
) -> None:
    bodies: dict[str, dict[str, Any]] = {"validate": {}, "redeem": {"order_ref": "A-1042"}}
    for call, others in bodies.items():
        body = others | {"order_amount": order_amount}
        problem = post(api_client, f"coupons/{coupon.code}/{call}", 400, body)
        assert [error["pointer"] for error in problem["errors"]] == ["/order_amount"]
    coupon.refresh_from_db()
    assert coupon.status == "issued"


@pytest.mark.parametrize("order_ref", [None, "", "   ", "x" * 101, 1, True, ["x"], "a\x00b"])
def test_an_order_is_named_by_a_text(api_client: APIClient, coupon: Coupon, order_ref: Any) -> None:
    answer = api_client.post(
        f"/api/v1/coupons/{coupon.code}/redeem/", ORDER | {"order_ref": order_ref}
    )

    assert answer.status_code == 400
    assert not Redemption.objects.exists()


@pytest.mark.parametrize("amount", [1, 10**12])
@pytest.mark.parametrize("order_ref", ["x", "é" * 100])
def test_bounds_belong_to_what_is_allowed(
    api_client: APIClient, coupon: Coupon, amount: int, order_ref: str
) -> None:
    Coupon.objects.update(basis_points=10_000)
    body = {"order_ref": order_ref, "order_amount": amount}

    assert post(api_client, f"coupons/{coupon.code}/redeem", 201, body)["discount"] == amount


@pytest.mark.parametrize("call", ["coupons/ABC/validate", "coupons/ABC/redeem"])
def test_strangers_without_an_account_are_refused(api_client: APIClient, call: str) -> None:
    assert post(api_client, call, 401, ORDER)["code"] == "not_authenticated"


def test_codes_cannot_be_tried_without_end(
    api_client: APIClient, coupon: Coupon, limit: Callable[[str], None]
) -> None:
    limit("2/m/user,60/m/ip")
    for _ in range(2):
        post(api_client, "coupons/ABCD/redeem", 404, ORDER)

    answer = api_client.post(f"/api/v1/coupons/{coupon.code}/redeem/", ORDER)

    assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
    assert 1 <= int(answer["Retry-After"]) <= 60
    api_client.force_authenticate(make_person())
    post(api_client, "coupons/ABCD/redeem", 404, ORDER)  # another account, the same address


def test_many_accounts_at_one_address_share_a_limit(
    api_client: APIClient, limit: Callable[[str], None]
) -> None:
    limit("60/m/user,2/m/ip")
    for status in (404, 404, 429):
        api_client.force_authenticate(make_person())
        post(api_client, "coupons/ABCD/redeem", status, ORDER)


def test_shops_are_not_limited_nor_anybody_where_limits_are_off(
    api_client: APIClient, limit: Callable[[str], None], settings: Settings
) -> None:
    limit("1/m/user,1/m/ip")
    log_in_shop(api_client)
    for _ in range(3):
        post(api_client, "coupons/ABCD/redeem", 404, ORDER)

    settings.RATE_LIMITS = "off"
    api_client.force_authenticate(make_person())
    for _ in range(3):
        post(api_client, "coupons/ABCD/redeem", 404, ORDER)
