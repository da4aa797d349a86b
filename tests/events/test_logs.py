"""Log lines say what they belong to, and hold no rows."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import DatabaseError
from django.test import Client

from events.context import correlated, handling
from events.delivery.failure import describe
from events.logs import JSONFormatter, PlaceFilter, RowFilter
from events.models import Delivery
from tests.conftest import Drain, Misbehave, Publish

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


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the captured records as JSON lines have them."""
    return [dict(json.loads(JSONFormatter().format(record))) for record in caplog.records]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture records with what they belong to."""
    caplog.handler.addFilter(PlaceFilter())
    with caplog.at_level(logging.INFO):
        yield caplog


@pytest.mark.django_db(transaction=True)
def test_a_line_of_a_worker_names_event_and_delivery(
    lines: pytest.LogCaptureFixture, publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    event = publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()

    drain()

    (line,) = [line for line in logged(lines) if line["logger"] == "events.delivery.verdicts"]
    delivery = Delivery.objects.get()
    assert (line["event_id"], line["event_type"]) == (str(event.id), "probe.happened")
    assert (line["delivery_id"], line["receiver"]) == (delivery.pk, "probe.record")
    assert (line["queue"], line["attempt"]) == ("probe", 1)
    assert "request_id" not in line


def test_a_line_of_a_receiver_s_own_names_what_it_works_on(
    lines: pytest.LogCaptureFixture,
) -> None:
    deliveries = tuple(
        Delivery(pk=n, event_id=uuid4(), receiver="a.b", queue="a", type="a.c") for n in (1, 2)
    )
    event = Mock(correlation_id="request-1")

    with handling((event,), deliveries):
        logging.getLogger("coupons").info("at work")

    (line,) = logged(lines)
    assert (line["correlation_id"], line["batch"]) == ("request-1", 2)
    assert line["delivery_ids"] == [1, 2]
    assert line["event_ids"] == [str(delivery.event_id) for delivery in deliveries]


def test_a_line_of_a_request_names_it(lines: pytest.LogCaptureFixture, client: Client) -> None:
    client.get("/nowhere/", headers={"X-Request-ID": "request-2"})

    (line,) = [line for line in logged(lines) if line["logger"] == "django.request"]
    assert line["request_id"] == line["correlation_id"] == "request-2"
    assert datetime.fromisoformat(line["time"]).tzinfo is not None


def test_a_failed_attempt_holds_no_row() -> None:
    failure = describe(DatabaseError(REFUSED))

    assert "argon2$secret" not in failure.message + failure.traceback
