"""People can take along what coupons keeps of them."""

import json
from typing import Any

import pytest

from accounts.models import User
from accounts.queries import export_account
from coupons.models import Coupon
from coupons.redeeming import redeem, roll_back
from tests.coupons.factories import make_campaign, make_coupon, make_decision
from tests.registrations import make_people, make_person, make_service

pytestmark = pytest.mark.django_db


def exported(person: User) -> dict[str, Any]:
    """Return what a person is given, after it was text."""
    section: dict[str, Any] = json.loads(json.dumps(export_account(person.pk)["coupons"]))
    return section


def test_somebody_without_coupons_gets_empty_lists() -> None:
    assert exported(make_person()) == {"coupons": [], "decisions": [], "redemptions": []}


def test_coupons_decisions_and_redemptions_are_given_to_their_owner_alone() -> None:
    person, other = make_people(2)
    coupon = make_coupon(make_campaign(name="Spring"), person)
    make_decision(make_campaign(name="Late"), person, outcome="skipped", reason="sold_out")
    shop = make_service("coupons.redeem_coupon")
    used = redeem(code=coupon.code, order_ref="A-1", order_amount=5000, by=shop)
    roll_back(redemption_id=used.pk, by=shop)
    make_coupon(make_campaign(), other)

    section = exported(person)

    [given] = section["coupons"]
    assert (given["code"], given["campaign_name"]) == (coupon.code, "Spring")
    assert (given["status"], given["basis_points"]) == ("issued", 1000)
    assert given["valid_until"] == coupon.valid_until.isoformat()
    assert [(d["campaign_name"], d["outcome"], d["reason"]) for d in section["decisions"]] == [
        ("Spring", "issued", ""),
        ("Late", "skipped", "sold_out"),
    ]
    [use] = section["redemptions"]
    assert (use["code"], use["order_ref"], use["discount"]) == (coupon.code, "A-1", 500)
    assert use["rolled_back_at"]
    assert str(shop.pk) not in json.dumps(section)
    assert Coupon.objects.exclude(user=person).get().code not in json.dumps(section)
