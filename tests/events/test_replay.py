"""Operators put deliveries back; doing so too often changes nothing."""

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from events.models import Delivery, DeliveryState
from events.operations.replay import replay_chosen
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.observe import delivery, effects, make_due

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dead(publish: Publish, drain: Drain, misbehave: Misbehave) -> Delivery:
    """Return a dead delivery whose cause is mended."""
    fault = misbehave(1, "permanent")
    publish(1)
    drain()
    fault.delete()
    return delivery("record")


def run(*arguments: str) -> str:
    """Run the command; return what it printed."""
    out = StringIO()
    call_command("replay", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_dead_delivery_is_replayed_and_succeeds(dead: Delivery, drain: Drain) -> None:
    answer = run("--receiver", "probe.record")
    drain()

    assert answer == "1 deliveries replayed.\n"
    assert effects("record") == [1]
    assert delivery("record").state == DeliveryState.DONE


def test_a_replay_rings_the_queue_that_serves_the_receiver_now(
    dead: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr("events.queue.ring", rung.append)
    Delivery.objects.update(queue="of another release")

    run("--receiver", "probe.record")

    assert rung == ["probe"]


def test_nothing_to_replay_is_not_an_error() -> None:
    assert run() == "Nothing to replay.\n"


def test_a_dry_run_shows_the_plan_and_writes_nothing(dead: Delivery) -> None:
    answer = run("--dry-run")

    assert "probe.record  " in answer
    assert answer.endswith("Nothing was written.\n")
    assert Delivery.objects.filter(state=DeliveryState.DEAD).count() == 4


def test_json_goes_to_stdout_as_one_document(dead: Delivery) -> None:
    plan: dict[str, Any] = json.loads(run("--dry-run", "--json", "--receiver", "probe.record"))
    result: dict[str, Any] = json.loads(run("--json", "--limit", "1"))

    assert plan["deliveries"][0]["event"] == str(dead.event_id)
    assert result == {"dry_run": False, "replayed": 1}


@pytest.mark.parametrize(
    "filters",
    [
        ("--key", "someone"),
        ("--type", "probe.happened"),
        ("--since", "2020-01-01"),
        ("--until", "2999-01-01T00:00:00Z"),
    ],
)
def test_filters_choose(filters: tuple[str, str], dead: Delivery) -> None:
    assert run(*filters) == "4 deliveries replayed.\n"


@pytest.mark.parametrize(
    "filters",
    [
        ("--key", "another"),
        ("--since", "2999-01-01"),
        ("--until", "2020-01-01"),
        ("--fingerprint", "0"),
    ],
)
def test_filters_that_match_nothing_replay_nothing(
    filters: tuple[str, str], dead: Delivery
) -> None:
    assert run(*filters) == "Nothing to replay.\n"


def test_one_kind_of_failure_is_replayed_by_its_fingerprint(dead: Delivery) -> None:
    assert run("--fingerprint", dead.fingerprint).endswith("replayed.\n")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--event", str(uuid4())),
        ("--receiver", "nobody.nothing"),
        ("--type", "nothing.happened"),
    ],
)
def test_an_unknown_name_is_wrong_usage(wrong: tuple[str, str]) -> None:
    with pytest.raises(CommandError) as refusal:
        run(*wrong)

    assert refusal.value.returncode == 2
    assert wrong[1] in str(refusal.value)


def test_replaying_everything_twice_changes_no_effect(publish: Publish, drain: Drain) -> None:
    for number in range(5):
        publish(number)
    drain()
    Delivery.objects.exclude(receiver__in=["probe.record", "probe.record_batch"]).delete()

    for _ in range(2):
        run("--state", "done")
        drain()

    assert effects("record") == effects("record_batch") == [0, 1, 2, 3, 4]


def test_a_replayed_dead_letter_lets_its_successors_go(
    dead: Delivery, publish: Publish, drain: Drain
) -> None:
    publish(2)
    drain()
    assert effects("record") == []

    run("--event", str(dead.event_id))
    drain()

    assert effects("record") == [1, 2]


def test_a_replayed_finished_delivery_holds_nobody_up(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    publish(1)
    drain()
    run("--state", "done", "--receiver", "probe.record")
    Delivery.objects.filter(receiver="probe.record").update(due_at="2999-01-01T00:00Z")

    publish(2)
    drain()

    assert effects("record") == [1, 2]


def test_hand_picked_deliveries_are_replayed_and_counted_once(dead: Delivery) -> None:
    count = replay_chosen(Delivery.objects.filter(pk=dead.pk))

    assert count == 1


def test_attempts_start_anew(dead: Delivery) -> None:
    run("--receiver", "probe.record")

    assert delivery("record").attempts == 0
    make_due()
    assert delivery("record").state == DeliveryState.PENDING
