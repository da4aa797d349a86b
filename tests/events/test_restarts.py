"""A cluster that ends is started again: at once where it worked, later and later where it fails."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from events.delivery import children, progress
from events.delivery.children import MAX_RESTART_DELAY_S, RESTART_DELAY_S, Child
from events.delivery.cluster import MAX_START_S, Cluster


class Clock:
    """A monotonic clock that only tests move."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class Ended:
    """A process that has ended already."""

    pid, exitcode = 2**22 + 1, 1  # beyond the highest pid there can be

    def __init__(self, **options: Any) -> None: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...
    def join(self) -> None: ...
    def is_alive(self) -> bool:
        """Tell that it is not."""
        return False


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """Let clusters end as soon as they start; return when each was started."""
    times: list[float] = []
    clock = Clock()

    def process(**options: Any) -> Ended:
        times.append(clock.now)
        return Ended()

    monkeypatch.setattr(children, "time", clock)
    monkeypatch.setattr(children._FORK, "Process", process)
    monkeypatch.setattr(progress, "path_of", lambda pid, queue: tmp_path / queue)
    return times


def watch(cluster: Child, seconds: int) -> None:
    """Look after a cluster each second."""
    for _ in range(seconds):
        children.time.now += 1  # type: ignore[attr-defined]
        cluster.restart_if_dead()


def test_a_cluster_that_fails_at_its_start_is_started_later_and_later(starts: list[float]) -> None:
    watch(Cluster("coupons"), seconds=200)

    delays = [later - earlier for earlier, later in pairwise(starts)]
    assert delays[:4] == [RESTART_DELAY_S, 2, 4, 8]
    assert delays[-1] == MAX_RESTART_DELAY_S


def test_a_cluster_that_was_at_work_is_started_at_once_however_often_it_is_killed(
    starts: list[float],
) -> None:
    cluster = Cluster("coupons")
    for _ in range(10):
        cluster.progress.looked()
        watch(cluster, seconds=1)

    assert len(starts) == 11


def test_a_cluster_on_a_slow_machine_is_given_longer_and_longer_to_come_up(
    starts: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    create = progress.Progress.create

    def note(path: Path, *, start_s: float) -> progress.Progress:
        given.append(start_s)
        return create(path, start_s=start_s)

    monkeypatch.setattr(progress.Progress, "create", note)

    watch(Cluster("coupons"), seconds=200)

    assert given[:4] == [progress.START_S, progress.START_S, 2 * progress.START_S, 80]
    assert given[-1] == MAX_START_S


def test_a_cluster_that_cannot_be_started_is_tried_again(
    starts: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, process = Cluster("coupons"), children._FORK.Process

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(children._FORK, "Process", refuse)
    watch(cluster, seconds=5)
    monkeypatch.setattr(children._FORK, "Process", process)
    watch(cluster, seconds=60)

    assert len(starts) > 1
