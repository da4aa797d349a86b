"""A test that cannot fail proves nothing: the kit notices every bug there is a name for.

Every bug is seeded into the product and must be found by who is said to find it; the same scenario
finds nothing wrong with the product as it is.
"""

import re

import pytest
from django.utils import timezone
from hypothesis import Phase, settings

from events.models import DeliveryState
from events.operations.replay import replay
from events.operations.selection import Selection
from project.alarms.models import Alarm, AlarmKind
from tests.conftest import Drain
from tests.events.backbone_machine import compare
from tests.faults import scenarios
from tests.faults.bugs import BUGS, VARIABLE, Bug, switched_on
from tests.faults.chaos.run import still_to_come
from tests.faults.scenarios import Problems
from tests.probe.models import Effect
from tests.processes import run_script

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.database("sqlite"),  # the checks are the same on both
]


def run(scenario: str) -> Problems:
    """Run a scenario by its name, with the argument that may follow a colon."""
    name, _, argument = scenario.partition(":")
    problems: Problems = getattr(scenarios, name)(*([argument] if argument else []))
    return problems


@pytest.mark.parametrize("scenario", sorted({bug.scenario for bug in BUGS.values()}))
def test_nothing_is_wrong_with_the_product(scenario: str) -> None:
    assert run(scenario) == []


@pytest.mark.parametrize("bug", BUGS.values(), ids=str)
def test_the_bug_is_caught(bug: Bug) -> None:
    if bug.caught_by.startswith("receiver: "):
        scenarios.learn_what_is_right()

    with switched_on(bug):
        problems = run(bug.scenario)

    assert any(re.match(bug.caught_by, problem) for problem in problems), problems


@pytest.mark.long
@pytest.mark.parametrize("name", ["no-inbox-row", "order-ignored", "fence-ignored"])
def test_the_model_notices_the_bug_too(name: str) -> None:
    # Found is enough: nothing is made smaller, or kept for the next run.
    until_found = settings(
        max_examples=200,
        stateful_step_count=30,
        deadline=None,
        phases=[Phase.generate],
        database=None,
        report_multiple_bugs=False,
    )

    with switched_on(BUGS[name]), pytest.raises(AssertionError):
        compare(until_found)


@pytest.mark.parametrize(("seeded", "effects"), [("", 1), ("no-inbox-row", 2)])
def test_a_real_process_is_given_a_bug_by_its_environment(
    seeded: str, effects: int, drain: Drain
) -> None:
    scenarios.publish(1)
    drain()
    replay(Selection(state=DeliveryState.DONE, receiver="probe.record"))

    run_script("from events.delivery.drain import drain\ndrain('probe')", **{VARIABLE: seeded})

    assert Effect.objects.filter(receiver="record").count() == effects


@pytest.mark.parametrize(("ended", "left"), [(False, 1), (True, 0)])
def test_a_run_does_not_rest_before_its_alarms_are_over(ended: bool, left: int) -> None:
    ended_at = timezone.now() if ended else None

    Alarm.objects.create(receiver="probe.record", kind=AlarmKind.DEAD, ended_at=ended_at)

    assert still_to_come() == left
