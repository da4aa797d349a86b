"""What a worker asks before it claims: is anything due?"""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.delivery import claimable
from events.models import Delivery, DeliveryState
from tests.probe.signals import Happened, happened

HISTORY, BACKLOG = 1500, 500


@pytest.mark.django_db
def test_whether_anything_is_due_is_read_from_what_is_due_also_beside_a_long_backlog() -> None:
    with transaction.atomic():
        happened.publish_many(Happened(key=str(n), number=n) for n in range(HISTORY + BACKLOG))
    history = Delivery.objects.order_by("position").values_list("pk", flat=True)[:HISTORY]
    Delivery.objects.filter(pk__in=list(history)).update(
        state=DeliveryState.DONE, due_at=None, finished_at=timezone.now()
    )

    for readable in (None, claimable.readable_types()):
        plan = plan_of_the_question(readable)

        assert "delivery_due_by_receiver" in plan
        assert "Seq Scan" not in plan
        assert "SCAN events_delivery" not in plan


@pytest.mark.django_db(transaction=True)
def test_what_can_be_read_is_asked_of_those_alone_who_have_something_due() -> None:
    receivers = claimable.active_receivers()
    with CaptureQueriesContext(connection) as of_nothing:
        assert claimable.with_due_deliveries(receivers) == []
    with transaction.atomic():
        happened.publish(Happened(key="a", number=1))

    with CaptureQueriesContext(connection) as of_something:
        due = claimable.with_due_deliveries(receivers)

    assert due == [each for each in receivers if happened in each.signals]
    assert len(of_nothing) == 1
    first, second = (query["sql"].count("UNION ALL") + 1 for query in of_something)
    assert (first, second) == (len(receivers), len(due))


def plan_of_the_question(readable: claimable.Readable | None) -> str:
    """Return how the database, which knows how much there is, reads whether anything is due."""
    receivers = tuple(claimable.active_receivers("probe"))
    sql, parameters = claimable._question(receivers, readable)
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE events_delivery")
        cursor.execute(f"{explain} {sql}", parameters)
        return "\n".join(str(row) for row in cursor.fetchall())
