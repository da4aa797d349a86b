"""Faults known from elsewhere (docs/pains.md), where no other test is about them."""

import ast
import re
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from accounts.models import User
from accounts.services import register
from coupons import redeeming
from coupons.models import Redemption
from events.models import Delivery, Event
from tests.coupons.factories import make_campaign, make_coupon
from tests.processes import ROOT
from tests.registrations import make_person

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
NAMED = sorted(set(_NAMED.findall((ROOT / "docs" / "pains.md").read_text())))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse(Path(ROOT, path).read_text())

    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.django_db(transaction=True)
def test_a_redemption_that_fails_half_way_leaves_the_coupon_usable() -> None:
    coupon = make_coupon(make_campaign(), make_person())
    redeem = partial(
        redeeming.redeem,
        code=coupon.code,
        order_ref="A-1042",
        order_amount=5000,
        by=coupon.user,
    )

    with (
        mock.patch.object(redeeming, "_publish_redeemed", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        redeem()

    assert not Redemption.objects.exists()
    assert redeem().order_ref == "A-1042"


@pytest.mark.django_db(transaction=True)
def test_a_registration_that_fails_leaves_no_event() -> None:
    with (
        mock.patch("accounts.services.user_registered.publish", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        register(email="mei@example.com", password="correct-horse-7")

    assert not User.objects.exists()
    assert not Event.objects.exists()
    assert not Delivery.objects.exists()
