"""The lock between processes ends with its holder, whatever the holder left behind."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from events import filelock
from events.filelock import FileLock
from tests.parallel import run_at_once
from tests.processes import wait_until

HOLDER = """
import os, sys, time
from pathlib import Path
from events.filelock import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.acquire(0)
if os.fork() == 0:
    Path(sys.argv[2]).touch()
    time.sleep(60)
os.wait() if sys.argv[3] == "live" else os._exit(1)
"""


def hold(path: Path, ready: Path, fate: str) -> subprocess.Popen[bytes]:
    """Hold the lock in another process, which forks and then lives or dies."""
    command = [sys.executable, "-c", HOLDER, str(path), str(ready), fate]
    process = subprocess.Popen(command, start_new_session=True)
    wait_until(ready.exists)
    return process


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")

    assert first.acquire(0)
    assert not second.acquire(0.01)
    first.release()
    assert second.acquire(0)

    first.close()
    second.close()


def test_a_lock_ends_with_its_process_although_a_child_lives_on(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock", tmp_path / "ready", "die")
    process.wait()
    lock = FileLock(tmp_path / "lock")

    try:
        assert lock.acquire(5)
    finally:
        lock.close()
        os.killpg(process.pid, 9)


def test_a_forked_child_does_not_release_its_parents_lock(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock", tmp_path / "ready", "live")
    lock = FileLock(tmp_path / "lock")

    try:
        assert not lock.acquire(0.1)
    finally:
        lock.close()
        os.killpg(process.pid, 9)
        process.wait()


def test_a_forgotten_lock_is_released(tmp_path: Path) -> None:
    forgotten = FileLock(tmp_path / "lock")
    assert forgotten.acquire(0)
    del forgotten
    lock = FileLock(tmp_path / "lock")

    assert lock.acquire(0)

    lock.close()


def test_of_a_process_no_second_thread_asks_while_one_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, *waiting = [FileLock(tmp_path / "lock") for _ in range(5)]
    holder.acquire(0)
    asked: list[object] = []
    monkeypatch.setattr(filelock, "_try_lock", asked.append)

    results = run_at_once([partial(lock.acquire, 0.1) for lock in waiting])

    assert results == [False] * 4
    assert asked == []
    holder.close()


def test_threads_at_once_each_get_their_turn(tmp_path: Path) -> None:
    locks = [FileLock(tmp_path / "lock") for _ in range(50)]
    inside: list[FileLock] = []
    crowds: list[int] = []

    def take_a_turn(lock: FileLock) -> bool:
        got = lock.acquire(30)
        inside.append(lock)
        crowds.append(len(inside))
        inside.remove(lock)
        lock.release()
        return got

    assert all(run_at_once([partial(take_a_turn, lock) for lock in locks]))
    assert crowds == [1] * 50


def test_who_gave_up_holds_up_nobody(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock", tmp_path / "ready", "live")
    impatient, patient = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")

    assert not impatient.acquire(0.01)
    os.killpg(process.pid, 9)
    process.wait()
    assert patient.acquire(5)

    patient.close()
    impatient.close()


def test_a_child_forked_while_a_thread_waits_for_it_gets_its_turn(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock", tmp_path / "ready", "live")
    asking, lock = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(asking.acquire, 30)
        wait_until(lambda: asking._turn.locked())
        child = os.fork()
        if child == 0:
            os._exit(0 if lock.acquire(30) else 1)

        os.killpg(process.pid, 9)
        assert asked.result(30)
        asking.release()

    assert os.waitpid(child, 0)[1] == 0
    process.wait()
    asking.close()
