"""Work that is due every so many minutes: declared once, called by workers."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from multiprocessing import Queue, Value, get_context
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage
from django_q.worker import worker

from events import queue
from events.delivery import periodic
from events.delivery.broker import DatabaseBellBroker, plan_due_calls
from tests.events.test_broker import bell, call

pytestmark = pytest.mark.django_db(transaction=True)

called: list[str] = []


def work() -> None:
    """Note that it was called."""
    called.append("work")


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Declare one piece of work, and nothing else."""
    monkeypatch.setattr(queue, "_periodic", {})
    queue.schedule("probe.work", f"{__name__}.work", queue="probe", every_minutes=15)
    called.clear()
    yield
    called.clear()


def rows() -> list[tuple[Any, ...]]:
    """Return what is stored."""
    columns = ("name", "func", "args", "cluster", "schedule_type", "minutes")
    return list(Schedule.objects.order_by("pk").values_list(*columns))


STORED = ("probe.work", queue.RUN_PERIODIC, "('probe.work',)", "probe", Schedule.MINUTES, 15)


def test_what_is_declared_is_stored_once() -> None:
    for _ in range(2):
        queue.synchronise_schedules()

    assert rows() == [STORED]


def test_the_time_of_the_next_run_is_kept_and_the_rest_follows() -> None:
    queue.synchronise_schedules()
    next_run = timezone.now() + timedelta(minutes=7)
    Schedule.objects.update(next_run=next_run, minutes=99, cluster="elsewhere")

    queue.synchronise_schedules()

    assert rows() == [STORED]
    assert Schedule.objects.get().next_run == next_run


def test_a_run_that_is_planned_meanwhile_stays_planned() -> None:
    queue.synchronise_schedules()
    Schedule.objects.update(minutes=99)
    next_run = timezone.now() + timedelta(minutes=7)
    planned: list[int] = []

    def plan_before_the_update(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and not planned:
            planned.append(1)
            Schedule.objects.update(next_run=next_run)
        return execute(sql, *rest)

    with connection.execute_wrapper(plan_before_the_update):
        queue.synchronise_schedules()

    assert rows() == [STORED]
    assert (planned, Schedule.objects.get().next_run) == ([1], next_run)


def test_of_two_with_one_name_one_goes_and_strangers_stay() -> None:
    queue.synchronise_schedules()
    kept = Schedule.objects.get().pk
    for name in ("probe.work", "newer.work"):
        Schedule.objects.create(name=name, func=queue.RUN_PERIODIC, args="()", minutes=15)

    queue.synchronise_schedules()

    assert Schedule.objects.get(name="probe.work").pk == kept
    assert Schedule.objects.filter(name="newer.work").exists()


def test_a_name_is_declared_once() -> None:
    queue.schedule("probe.work", f"{__name__}.work", queue="probe", every_minutes=15)

    with pytest.raises(ImproperlyConfigured):
        queue.schedule("probe.work", f"{__name__}.work", queue="probe", every_minutes=16)


def test_runs_that_were_missed_are_made_up_for_by_one_though_a_bell_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Conf, "CLUSTER_NAME", "probe")
    broker = DatabaseBellBroker(list_key="probe")
    broker.enqueue(bell())
    queue.synchronise_schedules()
    Schedule.objects.update(next_run=timezone.now() - timedelta(days=3))

    for _ in range(2):
        scheduler(broker=broker)

    tasks = [SignedPackage.loads(row.payload) for row in OrmQ.objects.order_by("pk")]
    assert [task["func"] for task in tasks] == [queue.DRAIN, queue.RUN_PERIODIC]
    assert tasks[1]["args"] == ("probe.work",)
    assert Schedule.objects.get().next_run > timezone.now()


def test_the_sweep_plans_what_is_due_in_the_queues_of_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Conf, "CLUSTER_NAME", Conf.CLUSTER_NAME)
    for name, its_queue in (("one", "probe"), ("two", "other"), ("three", "elsewhere")):
        queue.schedule(f"probe.{name}", f"{__name__}.work", queue=its_queue, every_minutes=15)
    queue.synchronise_schedules()
    Schedule.objects.filter(name="probe.two").update(next_run=timezone.now() + timedelta(hours=1))

    for _ in range(2):
        plan_due_calls(["probe", "other"])

    planned = {(row.key, *SignedPackage.loads(row.payload)["args"]) for row in OrmQ.objects.all()}
    assert planned == {("probe", "probe.one"), ("probe", "probe.work")}
    assert OrmQ.objects.count() == 2


def test_a_run_calls_the_work_and_rings_the_bell_that_it_stood_in_the_way_of() -> None:
    periodic.run("probe.work")

    assert called == ["work"]
    assert OrmQ.objects.filter(key="probe").count() == 1


def test_a_call_of_work_that_only_another_release_knows_comes_again_soon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    next_week = timezone.now() + timedelta(days=7)
    for name in ("newer.work", "probe.work"):
        Schedule.objects.create(
            name=name, func=queue.RUN_PERIODIC, args=repr((name,)), next_run=next_week
        )

    periodic.run("newer.work")

    soon = timezone.now() + timedelta(minutes=periodic.COME_AGAIN_MINUTES)
    assert "newer.work" in caplog.text
    assert not OrmQ.objects.exists()
    assert Schedule.objects.get(name="newer.work").next_run <= soon
    assert Schedule.objects.get(name="probe.work").next_run == next_week


def test_a_call_that_is_due_sooner_is_not_put_off() -> None:
    at = timezone.now() + timedelta(seconds=1)
    Schedule.objects.create(name="newer.work", func=queue.RUN_PERIODIC, args="()", next_run=at)

    periodic.run("newer.work")

    assert Schedule.objects.get().next_run == at


def test_points_declares_its_schedule() -> None:
    from django.apps import apps

    apps.get_app_config("points").ready()

    assert json.dumps(sorted(queue._periodic)) == '["points.settle_due", "probe.work"]'


def too_slow() -> None:
    """Take longer than any limit a test sets."""
    time.sleep(30)


def worker_of(work_name: str) -> dict[str, Any]:
    """Let a worker process of django-q2 answer one call of periodic work; return its result."""
    tasks, results, timer = Queue(), Queue(), Value("f", -1)  # type: ignore[var-annotated]
    tasks.put(
        {"id": "1", "name": "t", "func": queue.RUN_PERIODIC, "args": (work_name,), "kwargs": {}}
    )
    tasks.put("STOP")
    connection.close()  # the child must not use, or close, what it would share
    process = get_context("fork").Process(target=worker, args=(tasks, results, timer, 60))
    process.start()
    result: dict[str, Any] = results.get(timeout=10)
    process.join(10)
    assert process.exitcode == 0
    return result


def taken(name: str) -> None:
    """Let a pusher have taken a call of work."""
    with closing(DatabaseBellBroker(list_key="probe")) as broker:
        broker.enqueue(call(name))
        broker.take_bells()


def test_a_worker_survives_work_that_takes_too_long_and_forgets_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(periodic, "TIME_LIMIT_S", 0.2)
    queue.schedule("probe.slow", f"{__name__}.too_slow", queue="probe", every_minutes=15)
    taken("probe.slow")

    result = worker_of("probe.slow")

    assert result["success"]
    left = [SignedPackage.loads(row.payload)["func"] for row in OrmQ.objects.filter(key="probe")]
    assert left == [queue.DRAIN]


@pytest.mark.parametrize("name", ["probe.work", "probe.raises", "newer.work"])
def test_a_call_is_forgotten_whatever_became_of_it(name: str) -> None:
    queue.schedule("probe.raises", f"{__name__}.raises", queue="probe", every_minutes=15)
    taken(name)

    with suppress(ZeroDivisionError):
        periodic.run(name)

    left = [SignedPackage.loads(row.payload)["func"] for row in OrmQ.objects.all()]
    assert queue.RUN_PERIODIC not in left


def test_work_that_takes_too_long_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(periodic, "TIME_LIMIT_S", 0.2)
    queue.schedule("probe.slow", f"{__name__}.too_slow", queue="probe", every_minutes=15)

    periodic.run("probe.slow")

    (record,) = [r for r in caplog.records if r.name == periodic.__name__]
    assert record.levelname == "ERROR"
    assert "'probe.slow'" in record.getMessage()
    assert "a part each time" in record.getMessage()


def raises() -> None:
    """Fail."""
    raise ZeroDivisionError


def test_the_bell_rings_after_work_that_failed() -> None:
    queue.schedule("probe.raises", f"{__name__}.raises", queue="probe", every_minutes=15)

    with pytest.raises(ZeroDivisionError):
        periodic.run("probe.raises")

    assert OrmQ.objects.filter(key="probe").count() == 1


def test_calls_do_not_pile_up_while_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "CLUSTER_NAME", "probe")
    queue.schedule("probe.other", f"{__name__}.work", queue="probe", every_minutes=15)
    broker = DatabaseBellBroker(list_key="probe")
    queue.synchronise_schedules()

    for _ in range(3):
        Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=1))
        scheduler(broker=broker)

    tasks = [SignedPackage.loads(row.payload) for row in OrmQ.objects.order_by("pk")]
    assert sorted(task["args"] for task in tasks) == [("probe.other",), ("probe.work",)]
