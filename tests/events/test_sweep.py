"""A sweep does what deliveries wait for, whatever else goes wrong."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries

from events.delivery import sweep
from events.models import Delivery, DeliveryState
from tests.conftest import Publish

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("broken", ["take_stock", "look_through_open_deliveries", "wake_unblocked"])
def test_a_lost_lease_is_released_though_taking_stock_fails(
    broken: str, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("nothing works today")

    publish(1)
    Delivery.objects.update(
        state=DeliveryState.RUNNING,
        due_at=None,
        attempts=1,
        lease_token=uuid4(),
        lease_expires_at=Now() - timedelta(seconds=1),
    )
    monkeypatch.setattr(sweep, broken, fail)

    with pytest.raises(RuntimeError):
        sweep._Sweeper()._sweep()

    assert not Delivery.objects.filter(state=DeliveryState.RUNNING).exists()


def test_what_is_open_is_looked_through_at_the_start_and_then_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    sweeper = sweep._Sweeper()
    monkeypatch.setattr(sweep, "LOOK_THROUGH_EVERY", 3)
    monkeypatch.setattr(
        sweep, "look_through_open_deliveries", lambda: looks.append(sweeper._sweeps)
    )

    for _ in range(5):
        sweeper._sweep()

    assert looks == [0, 3]


def test_what_is_open_is_read_once_however_many_receivers_and_queues_it_has(
    publish: Publish, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    publish(2)
    Delivery.objects.filter(receiver="probe.record").update(receiver="probe.forgotten")
    Delivery.objects.filter(receiver="probe.record_batch").update(queue="abandoned")

    with django_assert_num_queries(2):  # the look, and what is moved
        sweep.look_through_open_deliveries()

    assert not Delivery.objects.filter(queue="abandoned").exists()


def test_on_postgresql_deliveries_are_vacuumed_long_before_a_fifth_of_history_is_dead() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("keeps no dead rows")

    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'events_delivery'")
        (options,) = cursor.fetchone()

    assert options == ["autovacuum_vacuum_scale_factor=0.02"]
