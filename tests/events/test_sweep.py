"""A sweep does what deliveries wait for, whatever else goes wrong."""

from datetime import timedelta
from importlib import import_module
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connection
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries

from events.delivery import sweep
from events.models import Delivery, DeliveryState
from tests.conftest import Publish

vacuum_sooner = import_module("events.migrations.0012_vacuum_sooner")

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


@pytest.mark.parametrize("strangers", [1, 3])
def test_what_is_open_is_read_once_and_what_no_release_knows_is_told(
    strangers: int,
    publish: Publish,
    caplog: pytest.LogCaptureFixture,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    names = [f"probe.forgotten_{number}" for number in range(strangers)]
    for number in range(strangers):
        publish(number)
    for name, delivery in zip(names, Delivery.objects.filter(receiver="probe.record"), strict=True):
        Delivery.objects.filter(pk=delivery.pk).update(receiver=name)

    with django_assert_num_queries(1):
        sweep.look_through_open_deliveries()

    told = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert told == names


@pytest.mark.database("postgres")
def test_deliveries_are_vacuumed_when_a_fiftieth_is_dead_unless_the_site_chooses_otherwise() -> (
    None
):
    ours = storage_options()
    try:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE events_delivery SET (autovacuum_vacuum_scale_factor = 0.1)")
        migrate_there_and_back()
        chosen = storage_options()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE events_delivery RESET (autovacuum_vacuum_scale_factor)")
        migrate_there_and_back()

    assert ours == vacuum_sooner.OPTIONS
    assert chosen == {**ours, "autovacuum_vacuum_scale_factor": "0.1"}
    assert storage_options() == ours


def migrate_there_and_back() -> None:
    """Take the migration back, and do it again."""
    with connection.schema_editor() as editor:
        vacuum_sooner.vacuum_as_other_tables(apps, editor)
        vacuum_sooner.vacuum_sooner(apps, editor)


def storage_options() -> dict[str, str]:
    """Return what the delivery table is told about vacuums."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = 'events_delivery'::regclass")
        (options,) = cursor.fetchone()
    return dict(option.split("=") for option in options or [])
