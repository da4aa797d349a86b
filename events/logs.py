"""Log records that say which request or event they belong to."""

import json
import logging
import re

from events.context import peek_correlation_id


class CorrelationFilter(logging.Filter):
    """Put the correlation id on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        record.correlation_id = getattr(request, "correlation_id", None) or peek_correlation_id()
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
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "correlation_id": getattr(record, "correlation_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
