"""Every registered receiver keeps its guarantee, whatever happens to its deliveries.

The cases are made from the registry: a receiver added anywhere is among them without a line here.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import pytest

from events import receivers, signals
from events.delivery import effects
from events.envelope import Event
from events.receivers import background_receiver, disconnect_receiver
from events.signals import EventSignal
from tests.faults.any_receiver import (
    Case,
    crash_cases,
    problems_after_a_crash,
    problems_of_one_delivery,
    problems_of_shuffled_copies,
    problems_of_two_deliveries,
    receiver_cases,
)
from tests.faults.crashpoints import CRASHPOINTS, CrashPoint, Stage
from tests.faults.stimuli import MissingStimulus
from tests.probe.models import Effect, ProcessedEvent
from tests.probe.signals import Happened, happened

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


def each_receiver(first: str) -> pytest.MarkDecorator:
    """Run a test for every receiver, on the databases in turn, beginning with `first`."""
    kinds = ("sqlite", "postgres") if first == "sqlite" else ("postgres", "sqlite")
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=str(case), marks=pytest.mark.database(kinds[number % 2]))
            for number, case in enumerate(receiver_cases())
        ],
    )


NEWCOMER = Case("newcomer.count", "probe.happened")


@each_receiver("sqlite")
def test_delivered_once(case: Case) -> None:
    assert problems_of_one_delivery(case) == []


@each_receiver("postgres")
def test_delivered_twice(case: Case) -> None:
    assert problems_of_two_deliveries(case) == []


@each_receiver("sqlite")
def test_delivered_three_times_in_any_order_by_eight_threads_at_once(
    case: Case, pytestconfig: pytest.Config
) -> None:
    seed = pytestconfig.getoption("randomly_seed")

    assert problems_of_shuffled_copies(case, seed) == []


IN_TURN = 6  # of so many crash points of a receiver, one is tried in every run


def _crash_params() -> Iterator[Any]:
    """Yield every receiver at every point, on the databases in turn; `make faults` runs them all.

    Of one receiver the other runs try some points, and other ones of the next receiver, so that
    every point is tried on every database for some receiver.
    """
    cases, points = receiver_cases(), list(CRASHPOINTS.values())
    for case, point in crash_cases():
        turn = cases.index(case) + points.index(point)
        marks = [pytest.mark.database(("sqlite", "postgres")[turn // IN_TURN % 2])]
        if turn % IN_TURN:
            marks.append(pytest.mark.long)
        yield pytest.param(case, point, id=f"{case}@{point.name}", marks=marks)


def test_every_crash_point_is_tried_in_every_run_on_both_databases() -> None:
    tried = [
        (each.values[1].name, mark.args[0])
        for each in _crash_params()
        for mark in each.marks
        if mark.name == "database" and not any(other.name == "long" for other in each.marks)
    ]

    points = {point.name for _, point in crash_cases()}

    assert {name for name, _ in tried} == points
    assert {(name, kind) for name in points for kind in ("sqlite", "postgres")} == set(tried)


@pytest.mark.parametrize(("case", "point"), list(_crash_params()))
def test_delivered_by_a_process_that_dies(case: Case, point: CrashPoint) -> None:
    assert problems_after_a_crash(case, point) == []


@pytest.fixture
def newcomer() -> Iterator[list[Event[Happened]]]:
    """Connect a receiver of whose events nobody knows; return what it is given in this process."""
    heard: list[Event[Happened]] = []

    @background_receiver(happened, inbox=ProcessedEvent, name=NEWCOMER.receiver, queue="newcomer")
    def count(event: Event[Happened]) -> None:
        heard.append(event)
        Effect.objects.create(receiver="count", event_id=event.id, key=event.key, number=1)

    yield heard
    disconnect_receiver(NEWCOMER.receiver)


def test_a_receiver_connected_later_is_among_the_cases(newcomer: object) -> None:
    points = {point.stage for case, point in crash_cases() if case == NEWCOMER}

    assert NEWCOMER in receiver_cases()
    assert points == {
        Stage.DRAIN,
        Stage.EFFECT_BLOCK,
        Stage.FAILURE,
        Stage.HAND_BACK,
        Stage.SWEEP,
    }
    assert problems_after_a_crash(NEWCOMER, CRASHPOINTS["effect.after"]) == []


def test_what_a_backbone_without_an_inbox_does_twice_is_noticed(newcomer: object) -> None:
    def all_are_new(inbox: object, deliveries: Sequence[object]) -> set[tuple[object, str]]:
        return {(d.event_id, d.target) for d in deliveries}  # type: ignore[attr-defined]

    problems_of_one_delivery(NEWCOMER)
    with mock.patch.object(effects, "_insert_into_inbox", all_are_new):
        problems = problems_of_two_deliveries(NEWCOMER)

    assert any("probe.Effect" in problem for problem in problems)


def test_a_receiver_of_an_event_nobody_can_cause_is_told_where_to_add_one() -> None:
    with (
        mock.patch.dict(signals._signals),
        mock.patch.dict(receivers._receivers),
    ):
        unheard = EventSignal("probe.unheard", version=1, data=Happened, key="key")
        background_receiver(unheard, inbox=ProcessedEvent, name="probe.listen", queue="q")(print)

        with pytest.raises(MissingStimulus, match=r"STIMULI in tests/faults/stimuli\.py"):
            problems_of_one_delivery(Case("probe.listen", "probe.unheard"))
