"""A paused receiver waits; all others go on; resuming it lets everything through."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import queue
from events.delivery.claim import claim
from events.delivery.claimable import has_due_deliveries
from events.delivery.effects import apply
from events.models import Delivery, DeliveryState, ReceiverState
from events.operations.pausing import UnknownReceiver, pause, resume
from events.operations.signature import Unsigned
from events.receivers import get_receiver
from tests.conftest import Drain, Publish
from tests.parallel import run_at_once
from tests.probe.observe import claim_all, delivery, effects

pytestmark = pytest.mark.django_db(transaction=True)

SIGNED = ("--by", "ada", "--reason", "it doubles coupons")


def run(*arguments: str) -> str:
    """Run a command; return what it printed."""
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_paused_receiver_waits_while_others_of_its_queue_go_on(
    publish: Publish, drain: Drain
) -> None:
    run("pause", "probe.record", *SIGNED)

    publish(1)
    drain()

    assert effects("record") == []
    assert effects("record_batch") == [1]
    assert delivery("record").state == DeliveryState.PENDING
    assert delivery("record").attempts == 0


def test_a_resumed_receiver_works_off_what_waited_in_order(publish: Publish, drain: Drain) -> None:
    run("pause", "probe.record", *SIGNED)
    for number in range(3):
        publish(number)
    drain()

    answer = run("resume", "probe.record")
    drain()

    assert answer == "probe.record runs again.\n"
    assert effects("record") == [0, 1, 2]


def test_what_runs_already_finishes(publish: Publish) -> None:
    publish(1)
    claimed = [d for d in claim_all("probe") if d.receiver == "probe.record"]

    pause("probe.record", by="ada", reason="a test")
    apply(get_receiver("probe.record"), claimed)

    assert effects("record") == [1]


def test_resuming_rings_the_bell_of_its_queue_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pause("probe.call_once", by="ada", reason="a test")
    rung: list[str] = []
    monkeypatch.setattr(queue, "ring", rung.append)

    resume("probe.call_once")

    assert rung == ["outside"]


def test_who_paused_it_when_and_why_is_kept() -> None:
    answer = run("pause", "probe.record", *SIGNED)

    state = ReceiverState.objects.get(name="probe.record")
    assert (state.paused_by, state.pause_reason) == ("ada", "it doubles coupons")
    assert state.paused_at is not None
    assert "`manage.py resume probe.record`" in answer


def test_pausing_again_changes_nothing_and_names_who_paused_it_first() -> None:
    run("pause", "probe.record", *SIGNED)

    answer = run("pause", "probe.record", "--by", "bob", "--reason", "another")

    assert answer.startswith("Nothing to do: probe.record has been paused since ")
    assert "by ada (it doubles coupons)" in answer
    assert ReceiverState.objects.get(name="probe.record").paused_by == "ada"


def test_resuming_what_is_not_paused_is_nothing_to_do() -> None:
    assert run("resume", "probe.record") == "Nothing to do: probe.record is not paused.\n"


def test_resuming_leaves_no_trace_of_the_pause() -> None:
    pause("probe.record", by="ada", reason="a test")

    assert resume("probe.record") is True

    state = ReceiverState.objects.get(name="probe.record")
    assert (state.paused_at, state.paused_by, state.pause_reason) == (None, "", "")


def test_json_says_whether_anything_changed() -> None:
    first = json.loads(run("pause", "probe.record", *SIGNED, "--json"))
    second = json.loads(run("pause", "probe.record", *SIGNED, "--json"))
    resumed = json.loads(run("resume", "probe.record", "--json"))

    assert first == {"receiver": "probe.record", "paused": True, "changed": True}
    assert second["changed"] is False
    assert resumed == {"receiver": "probe.record", "paused": False, "changed": True}


@pytest.mark.parametrize("command", [("pause", *SIGNED), ("resume",)])
def test_an_unknown_receiver_is_wrong_usage(command: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as refusal:
        run(command[0], "nobody.nothing", *command[1:])

    assert refusal.value.returncode == 2
    assert "probe.record" in str(refusal.value)  # the names there are
    with pytest.raises(UnknownReceiver):
        resume("nobody.nothing")


def test_a_pause_must_be_signed() -> None:
    with pytest.raises(CommandError) as refusal:
        run("pause", "probe.record", "--by", "ada", "--reason", "")
    with pytest.raises(Unsigned):
        pause("probe.record", by=" ", reason="a test")

    assert refusal.value.returncode == 2
    assert not ReceiverState.objects.filter(paused_at__isnull=False).exists()


def test_of_two_who_pause_it_at_once_one_did_it() -> None:
    results = run_at_once(
        [lambda by=by: pause("probe.record", by=by, reason="a test") for by in ("ada", "bob")]  # type: ignore[misc]
    )

    assert sorted(results) == [False, True]


def test_status_shows_the_pause(publish: Publish) -> None:
    run("pause", "probe.record", *SIGNED)
    publish(1)

    assert "probe.record (paused)" in run("events_status")
    assert Delivery.objects.filter(receiver="probe.record", state="pending").exists()


def test_what_waits_for_a_paused_receiver_is_not_in_the_others_way(publish: Publish) -> None:
    publish(1)
    pause("probe.record", by="ada", reason="a test")

    with CaptureQueriesContext(connection) as queries:
        claimed = claim_all("probe")
        has_due_deliveries("probe")

    assert [d.receiver for d in claimed] == ["probe.record_batch"]
    assert not any("'probe.record'" in query["sql"] for query in queries)


def test_receivers_of_a_queue_take_turns(publish: Publish) -> None:
    for number in range(6):
        publish(number, key=str(number))

    served = [claim("probe", 1)[0].receiver for _ in range(4)]

    assert sorted(served) == ["probe.record"] * 2 + ["probe.record_batch"] * 2
