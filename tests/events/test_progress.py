"""The supervisor tells a cluster that works, or is idle, from one that is stuck."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from events.delivery import progress as progress_module
from events.delivery.progress import PATIENCE_S, WRITE_LOCK_S, Progress


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


def test_a_new_file_leaves_a_former_cluster_its_own(progress: Progress, tmp_path: Path) -> None:
    new = Progress.create(tmp_path / "progress")

    progress.looked()

    assert progress.has_come_up
    assert not new.has_come_up


def another_process(progress: Progress, tmp_path: Path, script: str) -> subprocess.Popen[str]:
    """Run a script in a process that has the cluster's file as `told`; it prints when it is there.

    It ends when its standard input does.
    """
    prologue = (
        "import sys, time; from pathlib import Path; from events.delivery import progress\n"
        f"told = progress.Progress(Path({str(tmp_path / 'progress')!r}))\n"
    )
    epilogue = "\n    print('there', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", prologue + script + epilogue],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout
    assert process.stdout.readline() == "there\n"
    return process


@pytest.mark.parametrize("end", ["return", "kill"])
def test_a_drain_is_known_until_it_or_its_process_ends(
    end: str, progress: Progress, tmp_path: Path
) -> None:
    with another_process(progress, tmp_path, "with told.draining():") as process:
        running = progress.is_draining()
        process.kill() if end == "kill" else process.communicate("")

    assert running
    assert not progress.is_draining()


def test_a_receiver_that_does_not_return_is_overdue_and_its_neighbour_is_not(
    clock: Clock, progress: Progress, tmp_path: Path
) -> None:
    late = "with told.draining():\n    told.call_begins(-progress.PATIENCE_S)"
    healthy = "with told.draining():\n    told.call_begins(1e9)"
    with (
        another_process(progress, tmp_path, late) as first,
        another_process(progress, tmp_path, healthy) as second,
    ):
        clock.now = time.monotonic() + 1  # the others' clock is the real one
        overdue = progress.overdue_processes()
        first.communicate("")
        second.communicate("")

    assert overdue == [first.pid]
    assert progress.overdue_processes() == []


def test_a_write_lock_that_is_not_let_go_is_stuck(progress: Progress, clock: Clock) -> None:
    progress.write_locked()
    clock.pass_by(WRITE_LOCK_S + 1)
    progress.looked()

    assert "write lock" in progress.what_is_stuck()
    progress.write_unlocked()
    assert progress.what_is_stuck() == ""


def test_a_write_lock_ends_with_its_process(
    progress: Progress, clock: Clock, tmp_path: Path
) -> None:
    holder = "if True:\n    told.write_locked()"
    with another_process(progress, tmp_path, holder) as process:
        process.kill()

    clock.now = time.monotonic() + WRITE_LOCK_S + 1
    progress.looked()

    assert "write lock" not in progress.what_is_stuck()
