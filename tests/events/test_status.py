"""`events_status` says how each receiver is doing."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from events.models import ReceiverState
from events.operations.status import percentile
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)


def status_of(receiver: str) -> dict[str, Any]:
    """Return one receiver's status, as the command prints it."""
    out = StringIO()
    call_command("events_status", "--json", stdout=out)
    statuses = {status["receiver"]: status for status in json.loads(out.getvalue())["receivers"]}
    found: dict[str, Any] = statuses[receiver]
    return found


def test_a_backlog_shows_its_size_and_age(publish: Publish) -> None:
    publish(1)
    publish(2)

    status = status_of("probe.record")

    assert status["due"] == 2
    assert status["oldest_due_age_s"] >= 0
    assert status["dead"] == status["running"] == 0


def test_done_deliveries_show_rate_and_latency(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()

    status = status_of("probe.record")

    assert status["due"] == 0
    assert status["oldest_due_age_s"] is None
    assert status["rate_per_s"] > 0
    assert 0 <= status["p50_s"] <= status["p95_s"]


def test_dead_waiting_and_postponed_deliveries_are_counted_apart(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    publish(1)
    publish(2)
    drain()

    status = status_of("probe.record")

    assert (status["dead"], status["waiting"], status["due"]) == (1, 1, 0)


def test_a_paused_receiver_says_so_and_its_backlog_is_not_due(publish: Publish) -> None:
    ReceiverState.objects.create(name="probe.record", paused_at=Now(), paused_by="staff")
    publish(1)

    status = status_of("probe.record")

    assert status["paused"] is True
    assert (status["due"], status["scheduled"]) == (0, 1)


def test_the_table_names_every_receiver(publish: Publish) -> None:
    out = StringIO()

    call_command("events_status", stdout=out)

    assert "probe.record_batch" in out.getvalue()
    assert out.getvalue().startswith("RECEIVER")


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([1.0], 0.95, 1.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0)],
)
def test_percentiles(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected
