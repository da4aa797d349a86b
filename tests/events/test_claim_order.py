"""Whatever stands in the lanes, a claim takes nothing before what stands before it."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.delivery.claim import claim
from events.models import Delivery, DeliveryState
from tests.probe.signals import Happened, happened

LATER = datetime(2999, 1, 1, tzinfo=UTC)
UNFINISHED = ("pending", "later", "running", "waiting", "dead")
STATES = (*UNFINISHED, "done", "skipped")

# Of each delivery: its lane, how it stands, and whether it was replayed after its end.
backlogs = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(STATES), st.integers(0, 5)),
    min_size=1,
    max_size=12,
)


@pytest.mark.django_db
# The database's fixture lasts for all examples: each rolls back what it wrote.
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(backlog=backlogs, limit=st.integers(1, 12))
def test_a_claim_takes_nothing_before_what_stands_before_it(
    backlog: list[tuple[str, str, int]], limit: int
) -> None:
    with transaction.atomic():
        _make(backlog)
        stood = list(Delivery.objects.order_by("pk"))

        claimed = {delivery.pk for delivery in claim("probe", limit)}

        for delivery in stood:
            if delivery.pk in claimed and delivery.position is not None:
                assert {earlier.pk for earlier in _before(delivery, stood)} <= claimed
        assert bool(claimed) == any(_may_run(delivery, stood) for delivery in stood)
        transaction.set_rollback(True)


def _make(backlog: list[tuple[str, str, int]]) -> None:
    happened.publish_many(Happened(key=key, number=n) for n, (key, _, _) in enumerate(backlog))
    Delivery.objects.exclude(receiver="probe.record_batch").delete()
    for delivery, (_, stands, replayed) in zip(
        Delivery.objects.order_by("pk"), backlog, strict=True
    ):
        values = _columns(stands)
        if replayed == 0 and stands != "waiting":
            values["position"] = None
        Delivery.objects.filter(pk=delivery.pk).update(**values)


def _columns(stands: str) -> dict[str, Any]:
    if stands == "later":
        return {"due_at": LATER}
    values: dict[str, Any] = {"state": stands}
    if stands != "pending":
        values["due_at"] = None
    if stands in ("done", "skipped"):
        values |= {"finished_at": timezone.now(), "skipped_by": "an operator"}
    if stands == "running":
        values |= {"lease_token": uuid4(), "lease_expires_at": LATER}
    return values


def _before(delivery: Delivery, stood: list[Delivery]) -> list[Delivery]:
    """Return the unfinished ones before this one in its lane."""
    return [
        other
        for other in stood
        if other.key == delivery.key
        and other.finished_at is None
        and None not in (other.position, delivery.position)
        and other.pk < delivery.pk
    ]


def _may_run(delivery: Delivery, stood: list[Delivery]) -> bool:
    is_due = delivery.state == DeliveryState.PENDING and delivery.due_at != LATER
    return is_due and not _before(delivery, stood)
