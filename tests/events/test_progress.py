"""The supervisor tells a cluster that works, or is idle, from one that is stuck."""

from pathlib import Path
from typing import Any

import pytest

from events.delivery import progress as progress_module
from events.delivery.progress import PATIENCE_S, Progress


class Clock:
    """A monotonic clock that only tests move."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put the module under a clock of the test's."""
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


@pytest.fixture
def progress(clock: Clock, tmp_path: Path) -> Progress:
    """Return the progress of a cluster that started some time ago and looks for bells."""
    created = Progress.create(tmp_path / "progress")
    clock.pass_by(10 * PATIENCE_S)
    created.looked()
    return created


def test_a_cluster_may_take_its_time_to_start(clock: Clock, tmp_path: Path) -> None:
    created = Progress.create(tmp_path / "progress")

    clock.pass_by(2 * PATIENCE_S)

    assert created.what_is_stuck() == ""


def test_an_idle_cluster_that_keeps_looking_is_well(progress: Progress, clock: Clock) -> None:
    for _ in range(20):
        clock.pass_by(2)
        progress.looked()

    assert progress.what_is_stuck() == ""


def test_a_pusher_that_stops_looking_is_stuck(progress: Progress, clock: Clock) -> None:
    clock.pass_by(PATIENCE_S + 1)

    assert "looks for bells" in progress.what_is_stuck()


def test_a_bell_that_no_drain_answers_is_stuck(progress: Progress, clock: Clock) -> None:
    progress.taken()
    clock.pass_by(PATIENCE_S + 1)
    progress.looked()

    assert "no drain has begun" in progress.what_is_stuck()


def test_a_pusher_that_waits_for_a_busy_worker_is_well(progress: Progress, clock: Clock) -> None:
    progress.taken()
    progress.begun()
    progress.taken()  # the next bell, behind the busy worker
    for _ in range(10):
        clock.pass_by(10)
        progress.busy_for(10)

    assert progress.what_is_stuck() == ""


def test_a_delivery_that_outlives_its_limit_is_stuck(progress: Progress, clock: Clock) -> None:
    progress.taken()
    progress.begun()
    progress.busy_for(10)
    clock.pass_by(10 + 2 * PATIENCE_S + 1)

    assert progress.what_is_stuck() != ""


def test_both_sides_see_the_same_memory(progress: Progress, clock: Clock, tmp_path: Path) -> None:
    other: Any = Progress(tmp_path / "progress")
    clock.pass_by(PATIENCE_S + 1)

    other.looked()

    assert progress.what_is_stuck() == ""
