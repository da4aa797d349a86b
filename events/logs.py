"""Log records that say which request, event and delivery they belong to."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from events import tracing
from events.context import current_deliveries, peek_correlation_id, request_id

NONE = "-"
MAX_IDS = 20  # of a batch: a line stays one that people can read


def place() -> dict[str, Any]:
    """Return what the running code belongs to, by names as they stand in JSON lines.

    Of a batch, the ids are lists. What there is none of is left out.
    """
    found: dict[str, Any] = {}
    if (correlation_id := peek_correlation_id()) != NONE:
        found["correlation_id"] = correlation_id
    if request := request_id():
        found["request_id"] = request
    found |= _delivered()
    if ids := tracing.current_ids():
        found["trace_id"], found["span_id"] = ids
    return found


def _delivered() -> dict[str, Any]:
    deliveries = current_deliveries()
    if not deliveries:
        return {}
    events = [str(delivery.event_id) for delivery in deliveries[:MAX_IDS]]
    ids = [delivery.pk for delivery in deliveries[:MAX_IDS]]
    first = deliveries[0]
    found: dict[str, Any] = {"receiver": first.receiver, "queue": first.queue}
    if first.target:
        found["target"] = first.target
    if len(deliveries) > 1:
        return found | {"batch": len(deliveries), "event_ids": events, "delivery_ids": ids}
    more = {"event_id": events[0], "event_type": first.type, "delivery_id": ids[0]}
    return found | more | {"attempt": first.attempts}


class PlaceFilter(logging.Filter):
    """Put on every record what it belongs to."""

    def filter(self, record: logging.LogRecord) -> bool:
        belongs_to = place()
        # Django logs an answer's status when the request's context is left.
        request = getattr(record, "request", None)
        if correlation_id := getattr(request, "correlation_id", None):
            belongs_to["correlation_id"] = belongs_to["request_id"] = correlation_id
        record.place = belongs_to
        record.correlation_id = belongs_to.get("correlation_id", NONE)
        return True


class RowFilter(logging.Filter):
    """Take rows out of database errors: PostgreSQL quotes the whole one that it refuses."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and not record.exc_text:
            record.exc_text = without_rows(logging.Formatter().formatException(record.exc_info))
        return True


def without_rows(text: str) -> str:
    """Return an error's text without the DETAIL and CONTEXT lines, which hold values."""
    return re.sub(r"^(DETAIL|CONTEXT): .*$", r"\1: (left out)", text, flags=re.MULTILINE)


class JSONFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            "correlation_id": NONE,
            **getattr(record, "place", {}),
        }
        if record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
