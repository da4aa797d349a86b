"""Parsing that several commands share: ids, times, ages and exit codes."""

import re
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

USAGE_ERROR = 2  # exit code; 1 means that work failed

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_SHORT_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}


def event_id(text: str) -> UUID:
    """Parse an event's id. Raises ArgumentTypeError."""
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no event id (a UUID).") from None


def moment(text: str) -> datetime:
    """Parse a date or a time in ISO 8601; without an offset it is UTC. Raises ArgumentTypeError."""
    try:
        parsed = parse_datetime(text) or _midnight(text)
    except ValueError:
        parsed = None
    if parsed is None:
        raise ArgumentTypeError(f"{text!r} is no time. Write 2026-11-23 or 2026-11-23T08:00:00Z.")
    return parsed if timezone.is_aware(parsed) else timezone.make_aware(parsed)


def duration(text: str) -> timedelta:
    """Parse an age such as 90d, 12h or 2w. Raises ArgumentTypeError."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no age. Write 90d, 12h or 2w (hours, days, weeks).")
    return int(found[1]) * _UNITS[found[2]]


def grace(text: str) -> timedelta:
    """Parse a short time such as 10m; a bare number is seconds. Raises ArgumentTypeError."""
    found = re.fullmatch(r"([0-9]{1,6})([smh]?)", text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time span. Write 600, 90s, 10m or 2h.")
    return int(found[1]) * _SHORT_UNITS[found[2] or "s"]


def positive(text: str) -> int:
    """Parse a whole number from 1. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1.")
    return int(text)


def _midnight(text: str) -> datetime | None:
    day = parse_date(text)
    return datetime(day.year, day.month, day.day) if day else None  # noqa: DTZ001
