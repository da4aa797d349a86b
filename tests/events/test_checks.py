"""Misconfigurations are found before they lose work."""

from dataclasses import replace

import pytest
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from events import checks, queue
from events.models import Delivery, DeliveryState
from events.receivers import connect_receiver, disconnect_receiver, get_receiver
from tests.conftest import Publish


def test_the_shipped_settings_are_sound() -> None:
    assert checks.check_timing(None) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"timeout": 40}, ["events.E001"]), ({"retry": 60}, ["events.E002"])],
)
def test_timing_that_would_repeat_work_is_an_error(
    changed: dict[str, int], expected: list[str], settings: Settings
) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, **changed}

    assert [finding.id for finding in checks.check_timing(None)] == expected


def test_a_receiver_may_not_outlive_its_lease() -> None:
    slow = replace(get_receiver("probe.record"), name="probe.slow", time_limit_s=19.5)
    connect_receiver(slow)
    try:
        allowed = checks.check_timing(None)
    finally:
        disconnect_receiver("probe.slow")

    slower = replace(slow, time_limit_s=20)
    connect_receiver(slower)
    try:
        refused = [finding.id for finding in checks.check_timing(None)]
    finally:
        disconnect_receiver("probe.slow")

    assert allowed == []
    assert refused == ["events.E003"]


@pytest.mark.django_db(transaction=True)
def test_open_deliveries_of_a_receiver_that_is_gone_are_an_error(publish: Publish) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.record").update(receiver="probe.renamed")

    findings = checks.check_open_deliveries(None, databases=["default"])

    assert [finding.id for finding in findings] == ["events.E004"]
    assert "probe.renamed" in findings[0].msg


@pytest.mark.django_db(transaction=True)
def test_finished_deliveries_of_a_receiver_that_is_gone_are_history(publish: Publish) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.record").update(
        receiver="probe.renamed", state=DeliveryState.DONE, finished_at=Now(), due_at=None
    )

    assert checks.check_open_deliveries(None, databases=["default"]) == []


def test_a_schedule_of_a_queue_that_nobody_serves_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue, "_periodic", {})
    queue.schedule("probe.served", "probe.work", queue="probe", every_minutes=1)
    queue.schedule("probe.lost", "probe.work", queue="prbe", every_minutes=1)

    (finding,) = checks.check_schedules(None)

    assert finding.id == "events.E005"
    assert "'probe.lost'" in finding.msg
    assert "'prbe'" in finding.msg
    assert "probe" in str(finding.hint)


def test_the_declared_schedules_are_of_queues_that_are_served() -> None:
    assert checks.check_schedules(None) == []
