"""Log lines say what they belong to, and hold no rows."""

import json
import logging
import sys

import pytest
from django.db import DatabaseError

from events.context import correlated
from events.delivery.failure import describe
from events.logs import JSONFormatter, PlaceFilter, RowFilter

REFUSED = (
    'new row for relation "accounts_user" violates check constraint "user_closed_is_final"\n'
    "DETAIL:  Failing row contains (argon2$secret, someone@example.com)."
)


@pytest.fixture
def record() -> logging.LogRecord:
    """Return a record of a database error that quotes a row."""
    try:
        raise DatabaseError(REFUSED)
    except DatabaseError:
        error = sys.exc_info()
    return logging.LogRecord("accounts", logging.ERROR, __file__, 1, "it failed", (), error)


def test_the_row_that_a_database_refused_is_left_out(record: logging.LogRecord) -> None:
    RowFilter().filter(record)

    line = logging.Formatter().format(record)
    assert "user_closed_is_final" in line
    assert "argon2$secret" not in line


def test_a_json_line_names_the_request(record: logging.LogRecord) -> None:
    RowFilter().filter(record)
    with correlated("request-1"):
        PlaceFilter().filter(record)

    line = json.loads(JSONFormatter().format(record))
    assert (line["correlation_id"], line["message"]) == ("request-1", "it failed")
    assert "argon2$secret" not in line["exception"]


def test_a_failed_attempt_holds_no_row() -> None:
    failure = describe(DatabaseError(REFUSED))

    assert "argon2$secret" not in failure.message + failure.traceback
