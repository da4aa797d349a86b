"""Parsing that several commands share: ids, times and exit codes."""

from argparse import ArgumentTypeError
from datetime import datetime
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

USAGE_ERROR = 2  # exit code; 1 means that work failed


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


def positive(text: str) -> int:
    """Parse a whole number from 1. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1.")
    return int(text)


def _midnight(text: str) -> datetime | None:
    day = parse_date(text)
    return datetime(day.year, day.month, day.day) if day else None  # noqa: DTZ001
