"""On call without the admin: `replay --in-stages`, and `intervention` to decide what then."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.db.models.functions import Now

from events.interventions import Intervention, InterventionState
from events.management import staging
from events.models import Delivery, DeliveryState
from events.operations import freezing
from tests.conftest import Drain
from tests.probe.models import Fault
from tests.probe.signals import Happened, happened

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = "probe.record"
SIGNED = ("--by", "ada", "--reason", "mended")


@pytest.fixture(autouse=True)
def _dead(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make three dead deliveries, and let a drain run in place of the time between two looks."""
    with transaction.atomic():
        happened.publish_many(Happened(key=f"person {n}", number=n) for n in range(3))
    Delivery.objects.exclude(receiver=RECORD).delete()
    Delivery.objects.update(
        state=DeliveryState.DEAD, due_at=None, died_at=Now(), fingerprint="f", last_error="Broken"
    )
    monkeypatch.setattr(staging, "sleep", lambda seconds: drain())


def run(*arguments: str) -> tuple[str, str, int]:
    """Return what a command writes on stdout and stderr, and its exit code."""
    out, err, code = StringIO(), StringIO(), 0
    try:
        call_command(*arguments, stdout=out, stderr=err)
    except SystemExit as end:
        code = int(str(end.code))
    except CommandError as error:
        err.write(str(error))
        code = error.returncode
    return out.getvalue(), err.getvalue(), code


def replayed(*arguments: str) -> tuple[str, str, int]:
    """Run `replay --in-stages`."""
    return run("replay", "--in-stages", "--receiver", RECORD, *SIGNED, *arguments)


def listed() -> Any:
    """Return what the command says as JSON."""
    return json.loads(run("intervention", "--json")[0])["interventions"]


def test_a_mended_cause_goes_through() -> None:
    out, err, code = replayed("--fingerprint", "f")

    begun = Intervention.objects.get()
    assert (begun.asked_by, begun.reason, begun.operator) == ("ada", "mended", None)
    assert out == f"Intervention {begun.pk} (replay {RECORD}) is through: 3 done.\n"
    assert "2 frozen, 1 done" in err
    assert code == 0
    assert listed() == []


def test_it_stops_with_the_error_and_what_to_do_then() -> None:
    Fault.objects.create(number=0, kind="permanent")
    out, _, code = replayed()

    begun = Intervention.objects.get()
    assert code == 1
    assert "One failed again: events.retry.PermanentFailure: never" in out
    assert f"manage.py intervention {begun.pk} --go-on" in out
    assert [(each["state"], each["failed"], each["frozen"]) for each in listed()] == [
        ("stopped", 1, 2)
    ]


def test_a_stopped_one_is_gone_on_with_or_given_up() -> None:
    Fault.objects.create(number=0, kind="permanent")
    replayed()
    pk = str(Intervention.objects.get().pk)

    assert run("intervention", pk, "--go-on", "--reason", "x")[2] == 2  # by nobody
    assert "is running" in run("intervention", pk, "--go-on", "--by", "ada", "--reason", "x")[0]
    assert "is given_up" in run("intervention", pk, "--give-up", "--by", "ada", "--reason", "y")[0]
    again = run("intervention", pk, "--go-on", "--by", "ada", "--reason", "z")
    assert "Nothing was done" in again[1]
    assert Intervention.objects.get().state == InterventionState.GIVEN_UP
    assert run("intervention")[0] == "No intervention is open.\n"


def test_one_that_is_under_way_is_named() -> None:
    Fault.objects.create(number=0, kind="permanent")
    replayed()
    _, err, code = replayed()

    assert code == 1
    assert f"`manage.py intervention {Intervention.objects.get().pk}`" in err


def test_an_interrupted_command_leaves_it_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(staging, "sleep", interrupt)
    _, err, code = replayed()

    assert code == 1
    assert "Workers go on with intervention" in err
    assert Intervention.objects.get().state == InterventionState.RUNNING


def test_nothing_is_chosen_or_written() -> None:
    assert replayed("--fingerprint", "other")[0] == "Nothing to replay.\n"
    assert "3 deliveries would be replayed" in replayed("--dry-run")[0]
    assert not Intervention.objects.exists()


@pytest.fixture
def at_most_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a set take two."""
    monkeypatch.setattr(freezing, "MOST", 2)
    monkeypatch.setattr(staging, "MOST", 2)


@pytest.mark.usefixtures("at_most_two")
def test_what_a_set_does_not_take_is_told_and_partly_is_no_success() -> None:
    out, _, code = replayed()
    assert "is through: 2 done.\n1 more were chosen than a set takes" in out
    assert code == 1

    out, _, code = replayed()
    assert "is through: 1 done.\n" in out
    assert "more" not in out
    assert code == 0


@pytest.mark.usefixtures("at_most_two")
def test_what_is_left_is_in_the_document() -> None:
    out, _, code = replayed("--json")

    assert (json.loads(out)["size"], json.loads(out)["left"], code) == (2, 1, 1)
    assert json.loads(replayed("--json")[0])["left"] == 0
    assert json.loads(replayed("--json")[0]) == {"intervention": None, "size": 0, "left": 0}


@pytest.mark.usefixtures("at_most_two")
def test_a_limit_asks_for_no_more_than_a_set_takes() -> None:
    _, err, code = replayed("--limit", "3")
    assert "at most 2 at once" in err
    assert code == 2
    assert not Intervention.objects.exists()

    assert replayed("--limit", "2")[2] == 0  # as many as were asked for
    assert Intervention.objects.get().size == 2


@pytest.mark.usefixtures("at_most_two")
def test_the_plan_is_of_what_a_set_takes() -> None:
    assert "2 deliveries would be replayed" in replayed("--dry-run")[0]
    assert json.loads(replayed("--dry-run", "--json")[0])["matched"] == 2
    assert "3 deliveries" in run("replay", "--dry-run", "--receiver", RECORD)[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "--in-stages", "--receiver", RECORD),
        ("replay", "--in-stages", *SIGNED),
        ("replay", "--in-stages", "--receiver", RECORD, "--state", "done", *SIGNED),
        ("replay", "--in-stages", "--preview", "--receiver", RECORD, *SIGNED),
        ("replay", "--receiver", RECORD, *SIGNED),
        ("intervention", "99"),
        ("intervention", "--go-on", *SIGNED),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...]) -> None:
    _, err, code = run(*arguments)

    assert code == 2
    assert err
    assert not Intervention.objects.exists()
