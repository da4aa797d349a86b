"""From when until when a coupon is valid."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from coupons.campaigns import Campaign


def validity_window(campaign: Campaign, *, issued_at: datetime) -> tuple[datetime, datetime]:
    """Return the first moment of a coupon's validity and the first moment after it, in UTC."""
    if campaign.valid_from is not None and campaign.valid_until is not None:
        return campaign.valid_from, campaign.valid_until
    return issued_at, _end_of_day(issued_at, campaign.valid_days or 0, campaign.time_zone)


def _end_of_day(issued_at: datetime, days: int, time_zone: str) -> datetime:
    """Return the midnight that ends the given number of days after the day of issue.

    Days are those of the campaign's calendar, so a change of daylight saving time cannot cut one
    short. Where a zone skips that midnight, the day ends at the moment of the change.
    """
    zone = ZoneInfo(time_zone)
    last_day = issued_at.astimezone(zone).date() + timedelta(days=days)
    midnight = datetime.combine(last_day + timedelta(days=1), time.min, zone)
    return midnight.astimezone(UTC)
