"""What a campaign and a coupon are at a moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coupons.models import Campaign, Coupon
from coupons.states import coupon_state, effective_status

START = datetime(2026, 3, 1, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("status", "at", "expected"),
    [
        ("draft", START, "draft"),
        ("draft", END, "draft"),
        ("active", START - TICK, "scheduled"),
        ("active", START, "live"),
        ("active", END - TICK, "live"),
        ("active", END, "ended"),
        ("paused", START - TICK, "paused"),
        ("paused", START, "paused"),
        ("paused", END, "ended"),
        ("ended", START, "ended"),
        ("archived", START, "archived"),
    ],
)
def test_a_campaign_follows_its_status_and_the_clock(
    status: str, at: datetime, expected: str
) -> None:
    campaign = Campaign(status=status, starts_at=START, ends_at=END)

    assert effective_status(campaign, at=at) == expected


@pytest.mark.parametrize(
    ("stock", "issued", "expected"),
    [(None, 1_000_000, "live"), (3, 2, "live"), (3, 3, "sold_out"), (0, 0, "sold_out")],
)
def test_a_campaign_without_stock_left_is_sold_out(
    stock: int | None, issued: int, expected: str
) -> None:
    campaign = Campaign(status="active", starts_at=START, stock=stock, issued_count=issued)

    assert effective_status(campaign, at=START) == expected


def test_a_campaign_without_end_stays_live() -> None:
    campaign = Campaign(status="active", starts_at=START, ends_at=None)

    assert effective_status(campaign, at=datetime(2999, 1, 1, tzinfo=UTC)) == "live"


def test_a_campaign_can_be_judged_by_the_status_it_had() -> None:
    campaign = Campaign(status="ended", starts_at=START, ends_at=END)

    assert effective_status(campaign, at=START, status="active") == "live"


@pytest.mark.parametrize(
    ("columns", "at", "expected"),
    [
        ({}, START - TICK, "upcoming"),
        ({}, START, "usable"),
        ({}, END - TICK, "usable"),
        ({}, END, "expired"),
        ({"suspended_at": START}, START - TICK, "suspended"),
        ({"suspended_at": START}, START, "suspended"),
        ({"suspended_at": START}, END, "expired"),
        ({"status": "redeemed"}, END, "redeemed"),
        ({"status": "redeemed", "suspended_at": START}, START, "redeemed"),
        ({"status": "revoked"}, START, "revoked"),
        ({"status": "revoked", "suspended_at": START}, END, "revoked"),
    ],
)
def test_a_coupon_follows_its_status_and_the_clock(
    columns: dict[str, Any], at: datetime, expected: str
) -> None:
    coupon = Coupon(valid_from=START, valid_until=END, **columns)

    assert coupon_state(coupon, at=at) == expected
