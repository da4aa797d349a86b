"""From when until when a coupon is valid, across time zones and changes of daylight saving time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coupons.campaigns import Campaign
from coupons.validity import validity_window


def utc(text: str) -> datetime:
    """Return a moment of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_fixed_validity_is_the_campaigns() -> None:
    campaign = Campaign(valid_from=utc("2026-01-01"), valid_until=utc("2026-02-01"))

    window = validity_window(campaign, issued_at=utc("2026-01-15"))

    assert window == (utc("2026-01-01"), utc("2026-02-01"))


@pytest.mark.parametrize(
    ("zone", "issued_at", "days", "until"),
    [
        ("UTC", "2026-01-01 15:00", 1, "2026-01-03 00:00"),
        ("UTC", "2026-01-01 00:00", 30, "2026-02-01 00:00"),
        ("UTC", "2024-02-28 23:59", 1, "2024-03-01 00:00"),
        # In Shanghai it is the next day already.
        ("Asia/Shanghai", "2026-01-01 16:00", 1, "2026-01-03 16:00"),
        ("Asia/Shanghai", "2026-01-01 15:59", 1, "2026-01-02 16:00"),
        # In Los Angeles it is still the day before.
        ("America/Los_Angeles", "2026-01-02 07:59", 1, "2026-01-03 08:00"),
        # Berlin loses an hour on 29 March and gains one on 25 October.
        ("Europe/Berlin", "2026-03-28 12:00", 1, "2026-03-29 22:00"),
        ("Europe/Berlin", "2026-10-24 12:00", 1, "2026-10-25 23:00"),
        # Issued just before the change, just after it, and in each of two equal hours.
        ("Europe/Berlin", "2026-03-28 22:59:59", 1, "2026-03-29 22:00"),
        ("Europe/Berlin", "2026-03-29 00:59:59", 1, "2026-03-30 22:00"),
        ("Europe/Berlin", "2026-03-29 01:00:00", 1, "2026-03-30 22:00"),
        ("Europe/Berlin", "2026-10-25 00:30:00", 1, "2026-10-26 23:00"),
        ("Europe/Berlin", "2026-10-25 01:30:00", 1, "2026-10-26 23:00"),
        ("America/New_York", "2026-03-08 06:59:59", 1, "2026-03-10 04:00"),
        ("America/New_York", "2026-03-08 07:00:00", 1, "2026-03-10 04:00"),
        ("America/New_York", "2026-11-01 05:30:00", 1, "2026-11-03 05:00"),
        ("America/New_York", "2026-11-01 06:30:00", 1, "2026-11-03 05:00"),
        # In Santiago 6 September 2026 begins at 01:00: the day before ends when it does.
        ("America/Santiago", "2026-09-04 12:00", 1, "2026-09-06 04:00"),
    ],
)
def test_days_end_at_the_midnight_of_the_campaigns_zone(
    zone: str, issued_at: str, days: int, until: str
) -> None:
    campaign = Campaign(valid_days=days, time_zone=zone)

    window = validity_window(campaign, issued_at=utc(issued_at))

    assert window == (utc(issued_at), utc(until))


@given(
    issued_at=st.integers(0, 4_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC)),
    days=st.integers(1, 3650),
    zone=st.sampled_from(
        ["UTC", "Asia/Shanghai", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo"]
    ),
)
def test_days_are_never_cut_short_and_never_a_day_too_long(
    issued_at: datetime, days: int, zone: str
) -> None:
    campaign = Campaign(valid_days=days, time_zone=zone)

    start, end = validity_window(campaign, issued_at=issued_at)

    clock_change = timedelta(hours=1)
    assert timedelta(days=days) - clock_change <= end - start
    assert end - start <= timedelta(days=days + 1) + clock_change
