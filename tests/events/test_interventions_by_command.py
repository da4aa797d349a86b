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
