"""Operators give deliveries up: signed, for good, and without holding up what comes behind."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.models import Delivery, DeliveryState
from events.operations import skip as skipping
from events.operations.chunks import chunks
from events.operations.selection import Selection
from events.operations.signature import Unsigned
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.observe import claim_all, delivery, effects

pytestmark = pytest.mark.django_db(transaction=True)

SIGNED = ("--by", "ada", "--reason", "the campaign was cancelled")


@pytest.fixture
def dead(publish: Publish, drain: Drain, misbehave: Misbehave) -> Delivery:
    """Return a dead delivery with one waiting behind it."""
    misbehave(1, "permanent")
    publish(1)
    publish(2)
    drain()
    return delivery("record", state="dead")


def run(*arguments: str) -> str:
    """Run the command; return what it printed."""
    out = StringIO()
    call_command("skip", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_skipped_dead_letter_is_signed_and_lets_its_successors_go(
    dead: Delivery, drain: Drain
) -> None:
    answer = run("--receiver", "probe.record", *SIGNED)
    drain()

    dead.refresh_from_db()
    assert answer == "1 deliveries skipped.\n"
    assert (dead.state, dead.skipped_by) == (DeliveryState.SKIPPED, "ada")
    assert dead.skip_reason == "the campaign was cancelled"
    assert dead.finished_at is not None
    assert effects("record") == [2]


def test_why_it_died_stays_known(dead: Delivery) -> None:
    run("--receiver", "probe.record", *SIGNED)

    dead.refresh_from_db()
    assert "never" in dead.last_error


@pytest.mark.parametrize("state", ["pending", "waiting"])
def test_what_has_not_run_yet_can_be_skipped(
    state: str, dead: Delivery, publish: Publish, drain: Drain
) -> None:
    publish(3, key="another")

    run("--state", state, *SIGNED)
    drain()

    assert not Delivery.objects.filter(state=state).exists()
    assert Delivery.objects.filter(state=DeliveryState.SKIPPED).exists()
    assert 2 not in effects("record")


def test_a_skipped_delivery_never_runs_unless_it_is_replayed(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    run("--state", "pending", *SIGNED)
    drain()
    assert effects("record") == []

    call_command("replay", "--state", "skipped", stdout=StringIO())
    drain()

    assert effects("record") == [1]
    assert delivery("record").skipped_by == ""


def test_what_a_worker_took_meanwhile_is_let_be_and_said(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(1)

    def taken_first(ids: Any) -> Any:
        claim_all("probe")  # both of the probe's queue, after they were chosen
        return chunks(ids)

    monkeypatch.setattr(skipping, "chunks", taken_first)
    answer = run("--state", "pending", *SIGNED)

    assert answer.startswith("2 deliveries skipped.\n2 more were chosen, but a worker")
    assert delivery("record").state == DeliveryState.RUNNING


def test_running_and_finished_deliveries_cannot_be_hand_picked(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    publish(2, key="another")
    claim_all("probe")

    skipped = skipping.skip_chosen(
        Delivery.objects.filter(queue="probe"), by="ada", reason="no longer wanted"
    )

    assert skipped == []
    assert not Delivery.objects.filter(state=DeliveryState.SKIPPED).exists()


def test_a_dry_run_shows_the_plan_and_writes_nothing(dead: Delivery) -> None:
    answer = run("--dry-run", *SIGNED)

    assert "probe.record  " in answer
    assert answer.endswith("deliveries would be skipped. Nothing was written.\n")
    assert not Delivery.objects.filter(state=DeliveryState.SKIPPED).exists()


def test_json_goes_to_stdout_as_one_document(dead: Delivery) -> None:
    plan = json.loads(run("--dry-run", "--json", "--receiver", "probe.record", *SIGNED))
    result = json.loads(run("--json", "--receiver", "probe.record", *SIGNED))

    assert plan["deliveries"][0]["event"] == str(dead.event_id)
    assert result == {"dry_run": False, "skipped": 1, "let_be": 0}


def test_a_second_call_has_nothing_to_do(dead: Delivery) -> None:
    run(*SIGNED)

    assert run(*SIGNED) == "Nothing to skip.\n"


@pytest.mark.parametrize(
    ("by", "reason"), [("", "a reason"), ("ada", "  "), ("a" * 151, "a reason"), ("a", "r" * 201)]
)
def test_it_must_be_signed(by: str, reason: str, dead: Delivery) -> None:
    with pytest.raises(CommandError) as refusal:
        run("--by", by, "--reason", reason)
    with pytest.raises(Unsigned):
        skipping.skip(Selection(), by=by, reason=reason)

    assert refusal.value.returncode == 2
    assert not Delivery.objects.filter(state=DeliveryState.SKIPPED).exists()


def test_without_a_name_or_a_reason_it_is_wrong_usage() -> None:
    with pytest.raises(CommandError):
        run("--by", "ada")
    with pytest.raises(CommandError):
        run("--reason", "because")


def test_an_unknown_receiver_is_wrong_usage() -> None:
    with pytest.raises(CommandError) as refusal:
        run("--receiver", "nobody.nothing", *SIGNED)

    assert refusal.value.returncode == 2


def test_open_deliveries_of_a_removed_receiver_can_be_skipped(publish: Publish) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.record").update(receiver="probe.renamed")

    answer = run("--state", "pending", "--receiver", "probe.renamed", *SIGNED)

    assert answer == "1 deliveries skipped.\n"


def test_the_number_of_queries_does_not_grow_with_the_deliveries(publish: Publish) -> None:
    def queries_of_a_run() -> int:
        with CaptureQueriesContext(connection) as queries:
            run("--state", "pending", "--receiver", "probe.record", *SIGNED)
        return len(queries)

    publish(1, key="one")
    of_one = queries_of_a_run()
    for number in range(20):
        publish(number, key=f"another {number}")
    of_many = queries_of_a_run()

    assert of_many == of_one
