"""What a worker asks before it claims: is anything due?"""

import pytest
from django.db import connection, transaction
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

    plan = plan_of_the_question()

    assert "delivery_due_by_receiver" in plan
    assert "Seq Scan" not in plan
    assert "SCAN events_delivery" not in plan


def plan_of_the_question() -> str:
    """Return how the database, which knows how much there is, reads whether anything is due."""
    receivers = tuple(claimable.active_receivers("probe"))
    sql, parameters = claimable._question(receivers, claimable.readable_types())
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE events_delivery")
        cursor.execute(f"{explain} {sql}", parameters)
        return "\n".join(str(row) for row in cursor.fetchall())
