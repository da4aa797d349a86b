"""What is finished and old is deleted; nothing else is, and nobody mistakes it for never done."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from threading import Thread
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.interventions import Intervention, InterventionItem
from events.management.usage import duration
from events.models import Attempt, Delivery, DeliveryState, Event, ReceiverState
from events.operations import prune as pruning
from events.operations.replay import put_back
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.models import ProcessedEvent
from tests.probe.observe import effects, make_due
from tests.processes import ROOT, environment, run_script, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

OLD = timedelta(days=100)
RECEIVER = "probe.record"
Age = Callable[..., None]


def run(*arguments: str) -> str:
    """Run the command; return what it printed."""
    out = StringIO()
    call_command("prune_events", *(arguments or ("--older-than", "90d")), stdout=out)
    return out.getvalue()


def in_chunks_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a transaction delete two rows at most, on either database."""
    monkeypatch.setattr(pruning, "CHUNK_SIZE", 2)
    monkeypatch.setattr(pruning, "POSTGRES_CHUNK_SIZE", 2)


def age(events: bool = True) -> None:
    """Let a hundred days pass: for every event, delivery and attempt."""
    if events:
        Event.objects.update(occurred_at=timezone.now() - OLD)
    past = timezone.now() - OLD
    Delivery.objects.filter(finished_at__isnull=False).update(finished_at=past)
    Attempt.objects.update(started_at=past, ended_at=past)


def failed_then_done(publish: Publish, drain: Drain, misbehave: Misbehave) -> None:
    """Make deliveries that succeeded at their second attempt, where one was allowed."""
    fault = misbehave(1, "raise")
    publish(1)
    drain()
    fault.delete()
    Delivery.objects.filter(receiver="probe.call_once").delete()  # it died of the first
    make_due()
    drain()


def test_old_finished_deliveries_go_with_their_attempts(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    failed_then_done(publish, drain, misbehave)
    age()
    deliveries, attempts = Delivery.objects.count(), Attempt.objects.count()

    answer = run()

    assert attempts > 0
    assert answer.startswith(
        f"{deliveries} finished deliveries and {attempts} failed attempts from before "
    )
    assert answer.endswith(" UTC deleted.\n")
    assert not Delivery.objects.exists()
    assert not Attempt.objects.exists()


def test_nothing_hangs_on_what_is_deleted_unread_but_attempts() -> None:
    on_deliveries = {each.related_model for each in Delivery._meta.related_objects}

    assert on_deliveries == {Attempt}
    assert not Attempt._meta.related_objects


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_what_is_replayed_while_it_is_pruned_stays_with_its_attempts(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    failed_then_done(publish, drain, misbehave)
    age()
    replayed = Delivery.objects.get(receiver=RECEIVER)
    pruner = Thread(target=prune_on_a_connection_of_its_own)

    with transaction.atomic():
        put_back([replayed.pk], DeliveryState.DONE)
        pruner.start()
        wait_until(somebody_waits_for_us)
    pruner.join()

    assert list(Delivery.objects.all()) == [replayed]
    assert [attempt.delivery for attempt in Attempt.objects.all()] == [replayed]


def prune_on_a_connection_of_its_own() -> None:
    pruning.prune(timezone.now() - timedelta(days=90))
    connection.close()


def somebody_waits_for_us() -> bool:
    """Tell whether another session waits for a lock of this one's."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks"
            " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])


def test_events_and_processed_ids_stay(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()
    age()

    run()

    assert Event.objects.filter(type="probe.happened").count() == 1
    assert ProcessedEvent.objects.filter(receiver=RECEIVER).count() == 1


def test_what_finished_lately_stays(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()
    Event.objects.update(occurred_at=timezone.now() - OLD)

    answer = run()

    assert answer.startswith("0 finished deliveries and 0 failed attempts")
    assert Delivery.objects.filter(receiver=RECEIVER).exists()


def test_unfinished_work_stays_with_its_attempts_however_old(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    misbehave(3, "raise")
    publish(1)
    publish(2)  # waits behind it
    publish(3, key="another")  # is to be tried again
    drain()
    age()
    unfinished = Delivery.objects.filter(finished_at__isnull=True)
    before = sorted(unfinished.values_list("pk", "state"))
    attempts = Attempt.objects.filter(delivery__in=unfinished).count()

    run()

    assert {state for _, state in before} == {"dead", "waiting", "pending"}
    assert sorted(unfinished.values_list("pk", "state")) == before
    assert Attempt.objects.count() == attempts > 0


def test_old_attempts_of_what_finished_lately_go(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    failed_then_done(publish, drain, misbehave)
    Attempt.objects.update(started_at=timezone.now() - OLD, ended_at=timezone.now() - OLD)
    deliveries = Delivery.objects.count()

    run()

    assert not Attempt.objects.exists()
    assert Delivery.objects.count() == deliveries


def test_skipped_deliveries_are_finished_too(publish: Publish) -> None:
    publish(1)
    call_command(
        "skip", "--state", "pending", "--by", "ada", "--reason", "a test", stdout=StringIO()
    )
    age()

    run()

    assert not Delivery.objects.exists()


def test_what_is_gone_can_be_neither_replayed_nor_backfilled_into_a_second_effect(
    publish: Publish, drain: Drain
) -> None:
    for number in range(3):
        publish(number)
    drain()
    age()
    run()
    out = StringIO()

    call_command("replay", "--state", "done", stdout=out)
    for receiver in ("probe.record", "probe.record_batch"):
        call_command("backfill", receiver, "--since", "2020-01-01", stdout=out)
    drain()

    assert out.getvalue().startswith("Nothing to replay.\nNothing to deliver")
    assert effects("record") == effects("record_batch") == [0, 1, 2]


def test_every_receiver_notes_it_before_the_first_deletion(
    publish: Publish, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(1)
    drain()
    age()
    ReceiverState.objects.all().delete()
    seen: list[datetime | None] = []

    def stop(*args: object) -> None:
        seen.extend(ReceiverState.objects.values_list("pruned_before", flat=True))
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "_delete_deliveries", stop)
    cutoff = timezone.now() - timedelta(days=90)

    with pytest.raises(KeyboardInterrupt):
        pruning.prune(cutoff)

    assert set(seen) == {cutoff}
    assert ReceiverState.objects.filter(name="probe.call_once").exists()


def test_the_note_never_goes_back() -> None:
    now = timezone.now()
    pruning.prune(now - timedelta(days=10))

    pruning.prune(now - timedelta(days=90))

    marks = set(ReceiverState.objects.values_list("pruned_before", flat=True))
    assert marks == {now - timedelta(days=10)}


def test_a_delivery_that_finished_before_its_event_by_a_clock_that_is_off_stays(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    age(events=False)  # `pruned_before` speaks of the events' time

    run()

    assert Delivery.objects.filter(receiver=RECEIVER).exists()


def test_a_dry_run_counts_what_would_go_and_writes_nothing(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    failed_then_done(publish, drain, misbehave)
    age()
    publish(2)
    drain()

    plan = json.loads(run("--older-than", "12w", "--dry-run", "--json"))
    text = run("--older-than", "12w", "--dry-run")
    marked = ReceiverState.objects.filter(pruned_before__isnull=False).exists()
    result = json.loads(run("--older-than", "12w", "--json"))
    assert "T" in result["finished_before"]  # as RFC 3339 has it

    assert plan["dry_run"] is True
    assert text.endswith("would be deleted. Nothing was written.\n")
    assert not marked
    assert (plan["deliveries"], plan["attempts"]) == (result["deliveries"], result["attempts"])
    assert result["deliveries"] > 0
    assert result["attempts"] > 0


def intervention(ended: timedelta | None) -> Intervention:
    """Return an intervention in three deliveries, ended so long ago, or open."""
    made = Intervention.objects.create(
        kind="replay",
        receiver=RECEIVER,
        fingerprint=f"{Intervention.objects.count()}",
        size=3,
        asked_by="ada",
        reason="mended",
        state="running" if ended is None else "through",
        ended_at=None if ended is None else timezone.now() - ended,
    )
    InterventionItem.objects.bulk_create(
        InterventionItem(intervention=made, delivery_id=number) for number in range(3)
    )
    return made


def test_the_frozen_sets_of_interventions_that_ended_long_ago_go_and_who_asked_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_chunks_of_two(monkeypatch)
    ended, lately, still_open = intervention(OLD), intervention(timedelta(1)), intervention(None)
    Intervention.objects.update(began_at=timezone.now() - OLD)

    plan = json.loads(run("--older-than", "90d", "--dry-run", "--json"))
    text = run()

    assert plan["intervention_items"] == 3
    assert "3 intervention items from before then deleted.\n" in text
    assert not ended.items.exists()
    assert lately.items.count() == still_open.items.count() == 3
    assert Intervention.objects.count() == 3


def test_it_works_in_chunks_and_an_interrupted_call_is_finished_by_the_next(
    publish: Publish, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        publish(number)
    drain()
    age()
    total = Delivery.objects.count()
    in_chunks_of_two(monkeypatch)
    deleted: list[int] = []

    def stop(count: int) -> None:
        deleted.append(count)
        if len(deleted) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruning.prune(timezone.now(), progress=stop)

    assert deleted == [2, 2]
    assert Delivery.objects.count() == total - 4
    assert pruning.prune(timezone.now()).deliveries == total - 4


@pytest.mark.faults
def test_killed_half_way_the_next_call_does_the_rest(publish: Publish, drain: Drain) -> None:
    for number in range(5):
        publish(number)
    drain()
    age()
    total = Delivery.objects.count()
    publish(6)
    exit_code = run_script(
        """
import os, signal
from django.core.management import call_command
from events.operations import prune
prune.CHUNK_SIZE = prune.POSTGRES_CHUNK_SIZE = 2
delete, calls = prune._delete_deliveries, []
def delete_and_die(*args):
    gone = delete(*args)
    calls.extend([gone] if gone else [])
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)  # written, not committed
    return gone
prune._delete_deliveries = delete_and_die
call_command("prune_events", "--older-than", "90d")
"""
    )
    assert exit_code == -signal.SIGKILL
    assert Delivery.objects.filter(finished_at__isnull=False).count() == total - 4

    run()
    drain()

    assert sorted(effects("record")) == [0, 1, 2, 3, 4, 6]
    assert not Delivery.objects.filter(state=DeliveryState.DEAD).exists()


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_ages_are_read(text: str, age: timedelta) -> None:
    assert duration(text) == age


@pytest.mark.parametrize(
    "text", ["", "0d", "90", "d", "-1d", "1.5d", "90 d", "1y", "999999w", "٣d"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="Write 90d, 12h or 2w"):
        run(f"--older-than={text}")


def test_nonsense_is_wrong_usage() -> None:
    command = [sys.executable, "manage.py", "prune_events", "--older-than", "soon"]

    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=False)

    assert result.returncode == 2
    assert b"'soon' is no age" in result.stderr


def test_the_number_of_queries_does_not_grow_with_the_rows(publish: Publish, drain: Drain) -> None:
    def queries_of_a_run() -> int:
        drain()
        age()
        with CaptureQueriesContext(connection) as queries:
            run()
        return len(queries)

    publish(0)
    of_few = queries_of_a_run()
    for number in range(20):
        publish(number)
    of_many = queries_of_a_run()

    assert of_many == of_few


@pytest.mark.parametrize(("vendor", "paused_s"), [("postgresql", [1.0]), ("sqlite", [])])
def test_drains_get_turns_between_chunks_on_postgres(
    vendor: str, paused_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    clock = SimpleNamespace(monotonic=iter([10.0, 12.0]).__next__, sleep=paused.append)
    monkeypatch.setattr(pruning, "time", clock)
    monkeypatch.setattr(pruning, "connection", SimpleNamespace(vendor=vendor))
    monkeypatch.setattr(pruning, "in_short_transaction", lambda delete: delete())

    assert pruning._leaving_turns(lambda: None) is None

    assert paused == paused_s
