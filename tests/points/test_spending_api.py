"""`POST /api/v1/points/spend/` and `points/entries/{id}/rollback/`."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from points.models import Entry, PointsAccount
from tests.points.factories import credit
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

SPEND = "/api/v1/points/spend/"


@pytest.fixture
def mei() -> User:
    """Return somebody with 100 points."""
    person = make_person()
    credit(person, 100)
    return person


@pytest.fixture
def shop(api_client: APIClient) -> APIClient:
    """Return the client of a service that may spend."""
    service = make_person()
    service.user_permissions.add(Permission.objects.get(codename="spend_points"))
    api_client.force_authenticate(User.objects.get(pk=service.pk))
    return api_client


def order(person: User, **given: Any) -> dict[str, Any]:
    """Return the body of a request."""
    return {"user": str(person.pk), "amount": 30, "order_ref": "order-1"} | given


def undo(client: APIClient, entry_id: object) -> Any:
    """Ask to undo a spending."""
    return client.post(f"/api/v1/points/entries/{entry_id}/rollback/")


def test_a_service_spends_a_persons_points(shop: APIClient, mei: User) -> None:
    answer = shop.post(SPEND, order(mei), format="json")
    again = shop.post(SPEND, order(mei), format="json")

    assert (answer.status_code, again.status_code) == (201, 201)
    entry = Entry.objects.get(kind="spend")
    assert answer.json() == again.json()
    assert answer.json() | {"occurred_at": ""} == {
        "id": str(entry.pk),
        "kind": "spend",
        "amount": -30,
        "balance_after": 70,
        "occurred_at": "",
        "reason": "order-1",
    }


def test_a_service_undoes_it(shop: APIClient, mei: User) -> None:
    spent = shop.post(SPEND, order(mei), format="json").json()

    answer, again = undo(shop, spent["id"]), undo(shop, spent["id"])

    assert (answer.status_code, again.status_code) == (201, 201)
    assert answer.json() == again.json()
    assert (answer.json()["kind"], answer.json()["balance_after"]) == ("spend_rollback", 100)


@pytest.mark.parametrize(
    ("before", "given", "code"),
    [
        ({}, {"amount": 101}, "insufficient_points"),
        ({"frozen_at": timezone.now()}, {}, "account_frozen"),
        ({"closed_at": timezone.now()}, {}, "account_closed"),
    ],
)
def test_what_can_not_be_spent_is_a_conflict(
    shop: APIClient, mei: User, before: dict[str, Any], given: dict[str, Any], code: str
) -> None:
    PointsAccount.objects.update(**before, version=1)

    answer = shop.post(SPEND, order(mei, **given), format="json")

    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert answer.json()["detail"].endswith(".")
    assert PointsAccount.objects.get().balance == 100


def test_an_order_is_not_paid_twice(shop: APIClient, mei: User) -> None:
    spent = shop.post(SPEND, order(mei), format="json").json()

    other = shop.post(SPEND, order(mei, amount=31), format="json")
    undo(shop, spent["id"])
    again = shop.post(SPEND, order(mei), format="json")

    assert (other.status_code, other.json()["code"]) == (409, "order_conflict")
    assert (again.status_code, again.json()["code"]) == (409, "order_undone")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("amount", 0, "min_value"),
        ("amount", 10**12 + 1, "max_value"),
        ("amount", 10**30, "max_value"),
        ("amount", "30", "invalid"),
        ("amount", 30.0, "invalid"),
        ("amount", True, "invalid"),
        ("amount", None, "null"),
        ("order_ref", "", "blank"),
        ("order_ref", 7, "invalid"),
        ("order_ref", "x" * 101, "max_length"),
        ("user", "nobody", "unknown_user"),
        ("user", "019ab5d2-7c1e-7b60-9d0f-0c8f5f6f3f10", "unknown_user"),
        ("user", 7, "invalid"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    shop: APIClient, mei: User, field: str, value: object, code: str
) -> None:
    answer = shop.post(SPEND, order(mei, **{field: value}), format="json")

    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == (f"/{field}", code)
    assert Entry.objects.count() == 1


def test_only_spendings_are_undone(shop: APIClient, mei: User) -> None:
    earned, nothing = undo(shop, Entry.objects.get().pk), undo(shop, uuid4())

    assert (earned.status_code, earned.json()["code"]) == (409, "not_a_spending")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "unknown_entry")
    assert undo(shop, "nonsense").status_code == 404


def test_people_do_not_spend_by_themselves(api_client: APIClient, mei: User) -> None:
    entry = Entry.objects.get()
    assert api_client.post(SPEND, order(mei), format="json").status_code == 401
    assert undo(api_client, entry.pk).status_code == 401

    api_client.force_authenticate(mei)

    assert api_client.post(SPEND, order(mei), format="json").status_code == 403
    assert undo(api_client, entry.pk).status_code == 403
    assert Entry.objects.count() == 1
