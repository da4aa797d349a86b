"""The supervised worker: any queue a receiver names, no lost work, no orphans, a bounded stop."""

import signal
import sys
import time
from typing import Any

import psutil
import pytest
from django.db import transaction

from events.models import Delivery
from events.receivers import connect_receiver, disconnect_receiver, get_receiver
from tests.conftest import Drain, Publish
from tests.faults.world import open_campaign_and_rule, register
from tests.probe.models import Effect, Fault
from tests.probe.observe import effects
from tests.probe.signals import Happened, happened
from tests.processes import FAMILY, cluster_of, descendants_of, running, wait_until, worker

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.database("sqlite"),  # processes, not databases: chaos runs on both
]


def test_an_app_added_later_gets_its_events_in_a_queue_of_its_own(drain: Drain) -> None:
    open_campaign_and_rule(drain)
    Effect.objects.all().delete()

    with worker():
        invitee = register("b@example.com")
        wait_until(Effect.objects.filter(receiver="greet", key=str(invitee.pk)).exists)

    assert Effect.objects.filter(receiver="greet").count() == 1
    assert Delivery.objects.get(receiver="probe.greet", key=str(invitee.pk)).queue == "greetings"


def test_an_event_published_by_a_release_that_did_not_know_the_receiver_is_delivered(
    publish: Publish,
) -> None:
    receiver = get_receiver("probe.record")
    disconnect_receiver(receiver.name)
    try:
        publish(1)
    finally:
        connect_receiver(receiver)

    with worker("probe"):
        wait_until(lambda: effects("record") == [1])


def test_a_worker_killed_with_its_receiver_running_is_replaced_and_the_event_applied_once(
    publish: Publish,
) -> None:
    fault = Fault.objects.create(number=1, kind="kill")
    with worker("probe"):
        publish(1)
        running = Delivery.objects.filter(receiver="probe.record")
        wait_until(running.filter(run_alone=True).exists)  # it has killed a worker once
        fault.delete()

        wait_until(running.filter(state="done").exists)

    assert effects("record") == [1]


@pytest.mark.parametrize("victim", ["supervisor", "cluster", "sentinel"])
def test_no_process_outlives_its_parent(victim: str, publish: Publish) -> None:
    with worker("probe") as supervisor:
        publish(1)
        wait_until(lambda: effects("record") == [1])
        cluster = cluster_of(supervisor.pid)
        sentinel = cluster.children()[0]
        killed = {
            "supervisor": psutil.Process(supervisor.pid),
            "cluster": cluster,
            "sentinel": sentinel,
        }[victim]
        below = descendants_of(killed.pid)

        killed.send_signal(signal.SIGKILL)

        wait_until(lambda: not any(_is_alive(process) for process in below))


def test_a_queue_frozen_by_the_death_of_an_idle_worker_is_served_again(publish: Publish) -> None:
    with worker("probe") as supervisor:
        publish(1)
        wait_until(lambda: effects("record") == [1])
        idle_worker = min(_leaves(cluster_of(supervisor.pid).pid), key=lambda process: process.pid)

        idle_worker.kill()  # it holds the lock of django-q2's task queue, for ever
        publish(2, key="another")

        wait_until(lambda: effects("record") == [1, 2], timeout_s=45)


def _leaves(pid: int) -> list[psutil.Process]:
    return [process for process in descendants_of(pid) if not process.children()]


@pytest.mark.long
@pytest.mark.parametrize("victim", ["cluster", "sentinel"])
def test_a_killed_cluster_is_started_again(victim: str, publish: Publish) -> None:
    with worker("probe") as supervisor:
        wait_until(lambda: len(descendants_of(supervisor.pid)) >= FAMILY)
        cluster = cluster_of(supervisor.pid)
        (cluster if victim == "cluster" else cluster.children()[0]).kill()
        publish(1)

        wait_until(lambda: effects("record") == [1])


def test_sigterm_stops_everything_within_the_grace(publish: Publish) -> None:
    with worker("probe") as supervisor:
        publish(1)
        wait_until(lambda: effects("record") == [1])
        family = descendants_of(supervisor.pid)
        started = time.monotonic()

        supervisor.terminate()

        assert supervisor.wait(10) == 0
        assert time.monotonic() - started < 10
        assert not any(_is_alive(process) for process in family)


def test_sigterm_to_every_process_at_once_stops_all_within_the_grace(publish: Publish) -> None:
    with worker("probe") as supervisor:  # as systemd does without KillMode=mixed
        publish(1)
        wait_until(lambda: effects("record") == [1])
        family = descendants_of(supervisor.pid)

        for process in [*family, psutil.Process(supervisor.pid)]:
            process.terminate()

        assert supervisor.wait(10) == 0
        assert not any(_is_alive(process) for process in family)


def test_a_killed_idle_monitor_does_not_keep_a_worker_from_stopping(publish: Publish) -> None:
    command = [sys.executable, "manage.py", "worker", "probe", "--grace", "60"]
    with running(*command) as supervisor:
        publish(1)
        wait_until(lambda: effects("record") == [1])
        cluster = cluster_of(supervisor.pid)
        *_, monitor, _pusher = sorted(cluster.children()[0].children(), key=lambda p: p.pid)
        monitor.kill()  # it had the lock of django-q2's results, which its successor never gets
        wait_until(lambda: not _is_alive(monitor))

        supervisor.terminate()

        assert supervisor.wait(30) == 0  # half the grace: nothing was running


@pytest.mark.long
def test_after_the_death_of_a_busy_supervisor_nothing_is_left_and_a_new_one_takes_over() -> None:
    Fault.objects.bulk_create(Fault(number=n, kind="slow") for n in range(30))
    with transaction.atomic():
        happened.publish_many(Happened(key=str(n), number=n) for n in range(30))
    Delivery.objects.exclude(receiver="probe.record").delete()
    with worker("probe") as supervisor:
        wait_until(lambda: len(effects("record")) > 3)
        family = descendants_of(supervisor.pid)

        supervisor.kill()

        wait_until(lambda: not any(_is_alive(process) for process in family), timeout_s=5)

    with worker("probe"):
        wait_until(lambda: len(effects("record")) >= 30, timeout_s=60)
    assert sorted(effects("record")) == list(range(30))


def test_sigterm_under_a_backlog_ends_after_the_delivery_at_hand() -> None:
    Fault.objects.bulk_create(Fault(number=n, kind="slow") for n in range(300))
    with transaction.atomic():
        happened.publish_many(Happened(key=str(n), number=n) for n in range(300))
    Delivery.objects.exclude(receiver="probe.record").delete()

    with worker("probe") as supervisor:
        wait_until(lambda: len(effects("record")) > 3)
        supervisor.terminate()
        assert supervisor.wait(15) == 0

    unfinished = Delivery.objects.filter(receiver="probe.record").exclude(state="done")
    assert unfinished.exists()
    assert set(unfinished.values_list("state", "attempts")) == {("pending", 0)}


def test_a_frozen_database_does_not_keep_the_worker_from_stopping(private_postgres: Any) -> None:
    with worker("probe", DATABASE_URL=private_postgres.url) as supervisor:
        wait_until(lambda: len(descendants_of(supervisor.pid)) >= FAMILY)
        private_postgres.pause()
        try:
            supervisor.terminate()
            assert supervisor.wait(15) == 0
        finally:
            private_postgres.resume()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
