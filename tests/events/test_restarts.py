"""A cluster that ends is started again: at once where it worked, later and later where it fails."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from events.delivery import cluster as cluster_module
from events.delivery import forked, progress
from events.delivery.cluster import MAX_START_S, Cluster
from events.delivery.forked import MAX_RESTART_DELAY_S, RESTART_DELAY_S, Forked
from tests.processes import run_script


class Clock:
    """A monotonic clock that only tests move."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


NOBODY = 2**22 + 1  # beyond the highest pid there can be


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """Let clusters end as soon as they start; return when each was started."""
    times: list[float] = []
    clock = Clock()

    def fork(*args: Any) -> int:
        times.append(clock.now)
        return NOBODY

    for module in (forked, cluster_module):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(forked, "_fork", fork)
    monkeypatch.setattr(progress, "path_of", lambda pid, queue: tmp_path / queue)
    return times


def started_cluster() -> Cluster:
    """Return a cluster that was started, and has ended."""
    cluster = Cluster("coupons")
    cluster.start()
    return cluster


def watch(cluster: Forked, seconds: int) -> None:
    """Look after a cluster each second."""
    for _ in range(seconds):
        forked.time.now += 1.003  # type: ignore[attr-defined]
        cluster.restart_if_dead()


@pytest.mark.parametrize("make", [lambda: Forked("sweep", print), lambda: Cluster("coupons")])
def test_what_fails_at_its_start_is_started_later_and_later(
    make: Callable[[], Forked], starts: list[float]
) -> None:
    child = make()
    child.start()

    watch(child, seconds=200)

    delays = [later - earlier for earlier, later in pairwise(starts)]
    assert delays[:4] == pytest.approx([RESTART_DELAY_S, 2, 4, 8], rel=0.01)
    assert delays[5:] == pytest.approx([MAX_RESTART_DELAY_S] * len(delays[5:]), rel=0.05)


def test_a_cluster_that_was_at_work_is_started_at_once_however_often_it_is_killed(
    starts: list[float],
) -> None:
    cluster = started_cluster()
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

    watch(started_cluster(), seconds=200)

    assert given[:4] == [progress.START_S, progress.START_S, 2 * progress.START_S, 80]
    assert given[-1] == MAX_START_S


def test_a_cluster_that_cannot_be_started_is_tried_again(
    starts: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, fork = started_cluster(), forked._fork

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(forked, "_fork", refuse)
    watch(cluster, seconds=5)
    monkeypatch.setattr(forked, "_fork", fork)
    watch(cluster, seconds=60)

    assert len(starts) > 1


def test_a_worker_that_cannot_start_all_it_needs_ends_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = f"""
import itertools, os
from events.delivery import forked, progress
from events.delivery.supervisor import Supervisor

pids, fork = [], forked._fork
def refuse_the_third(*args):
    if len(pids) == 2:
        raise BlockingIOError("Resource temporarily unavailable")
    pids.append(fork(*args))
    return pids[-1]

forked._fork = refuse_the_third
try:
    Supervisor(["coupons", "points", "relay"], grace_s=1).run()
finally:
    open({str(tmp_path / "pids")!r}, "w").write(" ".join(map(str, pids)))
"""

    code = run_script(script, USHER_WORKER="1")

    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert code == 1
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
