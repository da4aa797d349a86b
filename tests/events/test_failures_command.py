"""`manage.py failures` tells what fails by its cause, dead and to be tried again apart."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from events.models import Delivery
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = "probe.record"


@pytest.fixture
def failing(publish: Publish, drain: Drain, misbehave: Misbehave) -> None:
    """Let one delivery to a receiver die, and another one wait for its next try."""
    misbehave(1, "permanent")
    misbehave(2, "raise")
    publish(1, key="li")
    publish(2, key="mei")
    drain()
    Delivery.objects.exclude(receiver=RECORD).delete()


def run(*arguments: str) -> str:
    """Return what the command prints."""
    out = StringIO()
    call_command("failures", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.usefixtures("failing")
def test_each_cause_is_told_with_what_is_dead_and_what_is_tried_again() -> None:
    lines = run().splitlines()

    dead, retrying = sorted(line for line in lines if line.startswith(RECORD))
    if "1 dead" not in dead:
        dead, retrying = retrying, dead
    assert "1 dead (latest " in dead
    assert ", 0 to be tried again, 1 affected" in dead
    assert ": 0 dead, 1 to be tried again (next " in retrying
    assert "    events.retry.PermanentFailure: never" in lines


@pytest.mark.usefixtures("failing")
def test_the_document_has_the_same() -> None:
    document = json.loads(run("--receiver", RECORD, "--json"))

    counts = [(each["dead"], each["retrying"], each["affected"]) for each in document["failures"]]
    assert sorted(counts) == [(0, 1, 1), (1, 0, 1)]
    assert document["most"] == 10_000
    (waiting,) = [each for each in document["failures"] if each["retrying"]]
    assert "T" in waiting["next_at"]
    assert waiting["first_at"] is None


def test_nothing_is_told_where_nothing_fails(publish: Publish) -> None:
    publish(1)

    assert run() == "Nothing fails.\n"
    assert json.loads(run("--json"))["failures"] == []


def test_an_unknown_receiver_is_wrong_usage() -> None:
    with pytest.raises(CommandError) as refusal:
        run("--receiver", "probe.recrod")

    assert refusal.value.returncode == 2
