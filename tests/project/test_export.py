"""People can take along what the project keeps of them."""

import json

import pytest

from accounts.queries import export_account
from project import checkouts
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import make_people, make_service

pytestmark = pytest.mark.django_db


def test_checkouts_are_given_to_their_owner_alone() -> None:
    person, other = make_people(2)
    coupon = make_coupon(make_campaign(), person)
    shop = make_service("coupons.redeem_coupon", "points.spend_points")
    terms = checkouts.Terms(code=coupon.code, order_ref="A-1", order_amount=5000, points=60)
    made = checkouts.start(terms=terms, by=shop)

    mine, theirs = (export_account(each.pk)["checkouts"] for each in (person, other))

    assert json.loads(json.dumps(mine)) == [
        {
            "order_ref": "A-1",
            "state": "pending",
            "reason": None,
            "points": 60,
            "created_at": made.created_at.isoformat(),
        }
    ]
    assert theirs == []
