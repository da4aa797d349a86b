"""What a look at the receivers, their latest minutes and the workers says, and what it costs."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from events.delivery import chores, owner, sweep
from events.delivery.chores import Chores, chore
from events.delivery.progress import Progress, path_of
from events.models import Attempt, Delivery, DeliveryState, Event
from events.noted import Minute, SeenWorker
from events.operations import glance as glances
from events.operations import minutes, workers
from events.operations.glance import Glance, glance
from events.operations.pausing import pause
from events.tallies import TallyMark
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = "probe.record"


def of(receiver: str = RECORD) -> Glance:
    """Return the look at one receiver."""
    return next(each for each in glance() if each.receiver == receiver)


# --- A glance -------------------------------------------------------------------------------------


def test_a_glance_says_what_waits_and_for_how_long(publish: Publish) -> None:
    for number in range(4):
        publish(number, key=f"person {number}")
    due, later, dead, parked = Delivery.objects.filter(receiver=RECORD).order_by("pk")
    set_to(due, due_at=Now() - timedelta(seconds=90))
    set_to(later, due_at=Now() + timedelta(hours=1))
    set_to(dead, state=DeliveryState.DEAD, due_at=None)
    set_to(parked, state=DeliveryState.WAITING, due_at=None)

    seen = of()

    assert (seen.due, seen.later, seen.dead, seen.waiting, seen.running) == (1, 1, 1, 1, 0)
    assert seen.oldest_due_age_s == pytest.approx(90, abs=10)


def set_to(delivery: Delivery, **columns: object) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(**columns)


def test_what_is_paused_is_not_due(publish: Publish) -> None:
    publish(1)
    pause(RECORD, by="ada", reason="repairs")

    seen = of()

    assert (seen.due, seen.later, seen.oldest_due_age_s) == (0, 1, None)
    assert seen.paused
    assert seen.paused.pause_reason == "repairs"


def test_counts_stop_at_a_bound_and_a_glance_is_four_statements(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glances, "MOST", 2)
    monkeypatch.setattr(glances, "_question", glances._question.__wrapped__)
    for number in range(4):
        publish(number)

    with CaptureQueriesContext(connection) as asked:
        seen = of()

    assert seen.due == 3
    assert len(asked) == 4


# --- Minutes --------------------------------------------------------------------------------------


def noted_to() -> datetime:
    """Return up to when minutes are noted."""
    return TallyMark.objects.get(name="minutes").counted_to


@pytest.fixture
def lately() -> datetime:
    """Begin to note minutes a few minutes ago; return a minute since then."""
    minutes.note()
    TallyMark.objects.update(counted_to=F("counted_to") - timedelta(minutes=4))
    return noted_to() + timedelta(minutes=1)


def move_to(at: datetime) -> None:
    """Let whatever has happened have happened then."""
    Event.objects.update(occurred_at=at)
    Delivery.objects.filter(finished_at__isnull=False).update(finished_at=at)
    Attempt.objects.update(started_at=at, ended_at=at)


def test_a_minute_has_what_was_done_in_it_and_how_long_that_took(
    lately: datetime, publish: Publish, drain: Drain
) -> None:
    for number in range(10):
        publish(number, key=f"person {number}")
    drain()
    move_to(lately)
    for number, delivery in enumerate(Delivery.objects.filter(receiver=RECORD).order_by("pk"), 1):
        set_to(delivery, finished_at=lately + timedelta(seconds=number))

    minutes.note()

    minute = Minute.objects.get(receiver=RECORD)
    assert (minute.at, minute.done, minute.failed) == (lately, 10, 0)
    assert (minute.p50_s, minute.p95_s) == (5, 10)


@pytest.mark.parametrize(
    ("latencies_s", "p50_s", "p95_s"),
    [([7], 7, 7), ([1, 9], 1, 9), ([4, 4, 4], 4, 4), ([2, 2, 8, 8], 2, 8)],
)
def test_percentiles_of_a_few_are_of_those_there_are(
    latencies_s: list[int],
    p50_s: int,
    p95_s: int,
    lately: datetime,
    publish: Publish,
    drain: Drain,
) -> None:
    for number in range(len(latencies_s)):
        publish(number, key=f"person {number}")
    drain()
    move_to(lately)
    receivers = [RECORD, "probe.record_batch"]
    for receiver, more_s in zip(receivers, (0, 100), strict=True):
        done = Delivery.objects.filter(receiver=receiver).order_by("pk")
        for delivery, taken_s in zip(done, latencies_s, strict=True):
            set_to(delivery, finished_at=lately + timedelta(seconds=taken_s + more_s))

    minutes.note()

    noted = {minute.receiver: minute for minute in Minute.objects.filter(receiver__in=receivers)}
    assert (noted[RECORD].p50_s, noted[RECORD].p95_s) == (p50_s, p95_s)
    assert (noted[receivers[1]].p50_s, noted[receivers[1]].p95_s) == (p50_s + 100, p95_s + 100)


def test_what_was_replayed_is_counted_and_not_timed(
    lately: datetime, publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    move_to(lately)
    Delivery.objects.update(position=None)

    minutes.note()

    minute = Minute.objects.get(receiver=RECORD)
    assert (minute.done, minute.p50_s, minute.p95_s) == (1, None, None)


def test_failed_attempts_and_what_is_due_are_noted(
    lately: datetime, publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    publish(1)
    drain()
    move_to(lately)
    publish(2)
    Delivery.objects.filter(receiver=RECORD, due_at__isnull=False).update(
        due_at=Now() - timedelta(seconds=300)
    )

    minutes.note()

    failed, due = Minute.objects.filter(receiver=RECORD).order_by("at")
    assert (failed.at, failed.failed, failed.done) == (lately, 1, 0)
    assert (due.due, due.failed) == (1, 0)
    assert due.oldest_due_age_s == pytest.approx(300, abs=20)


def test_of_many_who_note_at_once_one_does(
    lately: datetime, publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    move_to(lately)

    at_once(4, minutes.note)
    minutes.note()

    assert Minute.objects.get(receiver=RECORD).done == 1


def at_once(count: int, function: Callable[[], object]) -> None:
    barrier = Barrier(count)

    def run() -> None:
        barrier.wait()
        function()
        connection.close()

    threads = [Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_nobody_noted_is_made_up_for_five_minutes_at_a_time() -> None:
    minutes.note()
    TallyMark.objects.update(counted_to=F("counted_to") - timedelta(minutes=7))
    before = noted_to()

    minutes.note()
    assert noted_to() == before + timedelta(minutes=5)
    minutes.note()
    assert noted_to() >= before + timedelta(minutes=7)


def test_nobody_waits_for_the_counting(lately: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    within = []
    count = minutes._minutes

    def seen(*arguments: Any) -> list[Minute]:
        within.append(connection.in_atomic_block)
        return count(*arguments)

    monkeypatch.setattr(minutes, "_minutes", seen)
    minutes.note()

    assert within == [False]


def test_what_another_worker_noted_meanwhile_is_not_noted_again(
    lately: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = lately + timedelta(minutes=2)

    def overtaken(since: datetime, *arguments: object) -> list[Minute]:
        TallyMark.objects.filter(name="minutes").update(counted_to=elsewhere)
        return [Minute(receiver=RECORD, at=since, done=1)]

    monkeypatch.setattr(minutes, "_minutes", overtaken)
    minutes.note()

    assert not Minute.objects.exists()
    assert noted_to() == elsewhere


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_who_finds_the_mark_locked_goes_on_with_other_work(lately: datetime) -> None:
    before = noted_to()
    noting = Thread(target=at_once, args=(1, minutes.note), daemon=True)

    with transaction.atomic():
        TallyMark.objects.select_for_update().get(name="minutes")
        noting.start()
        noting.join(timeout=5)
        assert not noting.is_alive()

    assert noted_to() == before


def test_minutes_of_the_day_before_are_forgotten(lately: datetime) -> None:
    Minute.objects.create(receiver=RECORD, at=timezone.now() - timedelta(hours=27), done=1)

    minutes.note()

    assert not Minute.objects.exists()


def test_a_series_leaves_no_step_out_and_adds_receivers_up() -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    for receiver, back, done, due in (("a", 1, 3, 2), ("a", 2, 4, 7), ("b", 2, 5, 1)):
        at = now - timedelta(minutes=back)
        Minute.objects.create(receiver=receiver, at=at, done=done, due=due)

    points = minutes.series(minutes=60, step=1)

    assert len(points) == 60
    assert [(point.done, point.due) for point in points[-3:]] == [(9, 8), (3, 2), (0, 0)]
    assert sum(point.done for point in minutes.series(minutes=60, step=1, receiver="b")) == 5
    by_quarter = minutes.series(minutes=24 * 60, step=15)
    assert len(by_quarter) == 96
    assert {point.at.minute % 15 for point in by_quarter} == {0}
    assert sum(point.done for point in by_quarter) == 12


def test_the_pace_is_of_the_latest_minutes_that_are_noted() -> None:
    minutes.note()
    for back, done, p50_s in ((1, 0, None), (2, 10, 0.2), (3, 20, 0.1), (9, 99, 9.0)):
        Minute.objects.create(
            receiver=RECORD, at=noted_to() - timedelta(minutes=back), done=done, p50_s=p50_s
        )

    pace = minutes.paces()[RECORD]

    assert (pace.per_minute, pace.p50_s) == (6.0, 0.2)


# --- Workers and queues ---------------------------------------------------------------------------


def test_a_worker_is_noted_with_its_queues_and_what_is_stuck() -> None:
    progress = path_of(os.getppid(), "probe")
    Progress.create(progress, start_s=-100)
    try:
        for _ in range(2):
            workers.note(["probe", "outside"])
    finally:
        progress.unlink()

    (status,) = workers.worker_statuses()
    queues = {queue.name: queue for queue in workers.queue_statuses([status])}
    assert status.stuck == {"probe": "nobody looks for bells"}
    assert not status.is_gone
    assert (queues["probe"].workers, queues["probe"].stuck) == (1, "nobody looks for bells")
    assert (queues["outside"].workers, queues["outside"].stuck) == (1, "")
    assert queues["coupons"].workers == 0


def test_a_worker_with_the_pid_of_a_dead_one_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "owner_of", owner.owner_of.__wrapped__)
    for started in ("1000", "2000"):
        monkeypatch.setattr(owner, "_start_time", lambda pid, started=started: started)
        workers.note(["probe"])

    names = SeenWorker.objects.order_by("name").values_list("name", flat=True)
    assert [name.split(":")[1:] for name in names] == [
        [str(os.getppid()), "1000"],
        [str(os.getppid()), "2000"],
    ]


def test_what_is_noted_of_a_worker_is_of_now_but_its_start(settings: Settings) -> None:
    began = timezone.now() - timedelta(hours=3)
    workers.note(["probe"])
    SeenWorker.objects.update(host="before", release="before", started_at=began)

    settings.RELEASE = "after"
    workers.note(["probe"])

    worker = SeenWorker.objects.get()
    assert (worker.release, worker.started_at) == ("after", began)
    assert worker.host.endswith(f"({os.getppid()})")


def test_a_worker_that_is_not_seen_for_long_is_gone_and_then_forgotten() -> None:
    SeenWorker.objects.create(
        name="gone", host="h", queues={"probe": ""}, seen_at=Now() - timedelta(minutes=1)
    )
    SeenWorker.objects.create(
        name="long gone", host="h", queues={}, seen_at=Now() - timedelta(hours=2)
    )
    workers.note([])

    statuses = {status.worker.name: status for status in workers.worker_statuses()}
    queues = {queue.name: queue for queue in workers.queue_statuses(list(statuses.values()))}

    assert len(statuses) == 2
    assert statuses["gone"].is_gone
    assert queues["probe"].workers == 0


def test_bells_that_wait_are_counted(publish: Publish) -> None:
    publish(1)

    bells = {queue.name: queue.bells for queue in workers.queue_statuses([])}

    assert (bells["probe"], bells["coupons"]) == (1, 0)


# --- Chores ---------------------------------------------------------------------------------------

called: list[object] = []


def note_call(queues: object) -> None:
    """Stand for work that the sweep does."""
    called.append(queues)


def fail(queues: object) -> None:
    """Stand for work that is broken."""
    called.append("failed")
    raise OSError("broken")


@pytest.fixture
def _own_chores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know no chores but a test's."""
    monkeypatch.setattr(chores, "_chores", {})
    called.clear()


@pytest.mark.usefixtures("_own_chores")
def test_the_sweep_does_chores_with_the_queues_of_its_worker() -> None:
    chore("a", f"{__name__}.note_call", every_s=3600)
    sweeper = sweep._Sweeper(["probe"])

    sweeper._sweep()
    sweeper._sweep()

    assert called == [["probe"]]  # once within the hour


@pytest.mark.usefixtures("_own_chores")
def test_a_chore_that_fails_is_told_once_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chore("a", f"{__name__}.fail", every_s=0)
    chore("b", f"{__name__}.note_call", every_s=0)
    mine = Chores(["probe"])

    mine.do_due()
    mine.do_due()

    assert called == ["failed", ["probe"]] * 2
    assert caplog.text.count("'a' failed") == 1


@pytest.mark.usefixtures("_own_chores")
def test_a_name_is_of_one_chore() -> None:
    chore("a", "x.y", every_s=1)
    chore("a", "x.y", every_s=1)
    with pytest.raises(ImproperlyConfigured, match="'a'"):
        chore("a", "x.z", every_s=1)
