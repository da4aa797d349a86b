"""History is delivered to a receiver: all of it, once, however often the call is interrupted."""

import json
import signal
from datetime import timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events import queue
from events.models import Delivery, Event, ReceiverState
from events.operations import backfill as backfilling
from events.operations.prune import prune
from events.receivers import get_receiver
from tests.conftest import Drain, Publish
from tests.probe.observe import effects
from tests.processes import run_script

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "probe.record"
SINCE = ("--since", "2020-01-01")


@pytest.fixture
def history(publish: Publish) -> list[UUID]:
    """Return the ids of ten events that the receiver was not given, as if it were new."""
    ids: list[UUID] = [publish(number).id for number in range(10)]
    Delivery.objects.filter(receiver=RECEIVER).delete()
    return ids


def run(*arguments: str) -> str:
    """Run the command; return what it printed."""
    out = StringIO()
    call_command("backfill", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def given() -> list[UUID]:
    """Return the ids of the events the receiver has a delivery of, in the order they were added."""
    rows = Delivery.objects.filter(receiver=RECEIVER).order_by("pk")
    return [delivery.event_id for delivery in rows]


def test_history_is_delivered_in_order_of_position_and_runs(
    history: list[UUID], drain: Drain
) -> None:
    answer = run(RECEIVER, *SINCE)

    assert answer.startswith(
        "10 events are due for probe.record now; 0 events had been given to it before."
    )
    assert given() == history
    assert not Delivery.objects.filter(receiver=RECEIVER, position__isnull=False).exists()
    drain()
    assert sorted(effects("record")) == list(range(10))


def test_a_second_call_has_nothing_to_do(history: list[UUID], drain: Drain) -> None:
    run(RECEIVER, *SINCE)
    drain()

    answer = run(RECEIVER, *SINCE)
    drain()

    assert answer == (
        "Nothing to deliver to probe.record. 10 events had been given to it before.\n"
    )
    assert len(effects("record")) == 10


def test_only_the_span_asked_for_is_delivered(history: list[UUID]) -> None:
    now = timezone.now()
    for days, event_id in enumerate(reversed(history)):
        Event.objects.filter(event_id=event_id).update(occurred_at=now - timedelta(days=days))

    since, until = now - timedelta(days=5, hours=1), now - timedelta(days=2, hours=1)
    run(RECEIVER, "--since", since.isoformat(), "--until", until.isoformat())

    assert given() == history[4:7]


def test_events_of_other_types_are_not_delivered(history: list[UUID], drain: Drain) -> None:
    run(RECEIVER, *SINCE)
    drain()  # it publishes follow-ons
    run(RECEIVER, *SINCE)

    assert set(given()) == set(history)


def test_what_the_inbox_knows_is_not_delivered_again(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()
    Delivery.objects.filter(receiver=RECEIVER).delete()  # as pruning does

    assert run(RECEIVER, *SINCE).startswith("Nothing to deliver")


def test_a_dry_run_counts_and_writes_nothing(history: list[UUID], publish: Publish) -> None:
    publish(11)

    answer = run(RECEIVER, *SINCE, "--dry-run")

    assert answer == (
        "10 events would be delivered to probe.record; 1 events had been given to it before. "
        "Nothing was written.\n"
    )
    assert len(given()) == 1


def test_json_is_one_document(history: list[UUID]) -> None:
    plan = json.loads(run(RECEIVER, *SINCE, "--json", "--dry-run"))
    result = json.loads(run(RECEIVER, *SINCE, "--json"))

    assert plan == {"dry_run": True, "receiver": RECEIVER, "delivered": 10, "had_one": 0}
    assert result == {**plan, "dry_run": False}


def test_the_bell_of_its_queue_is_rung(
    history: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(queue, "ring", rung.append)

    run(RECEIVER, *SINCE)

    assert rung == ["probe"]


def test_it_works_in_chunks_and_stops_between_them(
    history: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfilling, "CHUNK_SIZE", 3)

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfilling.backfill(
            get_receiver(RECEIVER), since=timezone.now() - timedelta(days=1), progress=stop
        )
    after_the_first_chunk = given()
    run(RECEIVER, *SINCE)

    assert after_the_first_chunk == history[:3]
    assert given() == history


def test_an_interruption_says_how_to_go_on(
    history: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **kwargs: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(backfilling, "add_missing_deliveries", interrupt)

    with pytest.raises(CommandError, match="Interrupted after 0") as end:
        run(RECEIVER, *SINCE)

    assert end.value.returncode == 1


@pytest.mark.faults
def test_killed_half_way_the_next_call_does_the_rest_once(
    history: list[UUID], drain: Drain
) -> None:
    exit_code = run_script(
        """
import os, signal
from django.core.management import call_command
from events.operations import backfill
backfill.CHUNK_SIZE = 2
add, calls = backfill.add_missing_deliveries, []
def add_and_die(*args, **kwargs):
    added = add(*args, **kwargs)
    calls.append(added)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)  # written, not committed
    return added
backfill.add_missing_deliveries = add_and_die
call_command("backfill", "probe.record", "--since", "2020-01-01")
"""
    )
    assert exit_code == -signal.SIGKILL
    assert given() == history[:4]

    run(RECEIVER, *SINCE)
    drain()

    assert sorted(map(str, given())) == sorted(map(str, history))
    assert sorted(effects("record")) == list(range(10))


@pytest.mark.parametrize("receiver", ["probe.call_outside", "probe.call_once"])
def test_a_receiver_without_an_inbox_is_given_nothing_that_may_have_been_pruned(
    receiver: str, publish: Publish
) -> None:
    publish(1)
    Delivery.objects.filter(receiver=receiver).delete()
    cutoff = timezone.now()
    prune(cutoff)

    with pytest.raises(CommandError, match="nobody could tell") as refusal:
        run(receiver, *SINCE)

    assert refusal.value.returncode == 2
    assert cutoff.isoformat().replace("+00:00", "Z") in str(refusal.value)
    assert not Delivery.objects.filter(receiver=receiver).exists()
    publish(2)
    Delivery.objects.filter(receiver=receiver).delete()
    assert run(receiver, "--since", cutoff.isoformat()).startswith("1 events are due")


def test_pruning_meanwhile_stops_it(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfilling, "CHUNK_SIZE", 1)
    ReceiverState.objects.create(name="probe.call_outside")
    for number in range(3):
        publish(number)
    Delivery.objects.filter(receiver="probe.call_outside").delete()

    def prune_meanwhile(count: int) -> None:
        prune(timezone.now())

    with pytest.raises(backfilling.HistoryPruned):
        backfilling.backfill(
            get_receiver("probe.call_outside"),
            since=timezone.now() - timedelta(days=1),
            progress=prune_meanwhile,
        )

    assert Delivery.objects.filter(receiver="probe.call_outside").count() == 1


def test_a_receiver_with_an_inbox_may_reach_back_before_the_pruning(history: list[UUID]) -> None:
    prune(timezone.now())

    assert run(RECEIVER, *SINCE).startswith("10 events are due")


@pytest.mark.parametrize(
    "wrong",
    [
        ("nobody.nothing", *SINCE),
        (RECEIVER, "--since", "2020-01-02", "--until", "2020-01-01"),
    ],
)
def test_wrong_usage_is_said(wrong: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as refusal:
        run(*wrong)

    assert refusal.value.returncode == 2


def test_a_receiver_that_this_release_lacks_is_wrong_usage() -> None:
    ReceiverState.objects.create(name="probe.of_long_ago")

    with pytest.raises(CommandError, match="This release has no receiver"):
        run("probe.of_long_ago", *SINCE)


def test_the_number_of_queries_does_not_grow_with_the_events(publish: Publish) -> None:
    def queries_of_a_run() -> int:
        Delivery.objects.filter(receiver=RECEIVER).delete()
        with CaptureQueriesContext(connection) as queries:
            run(RECEIVER, *SINCE)
        return len(queries)

    publish(0)
    of_one = queries_of_a_run()
    for number in range(20):
        publish(number)
    of_many = queries_of_a_run()

    assert of_many == of_one
