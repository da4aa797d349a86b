"""The lock between processes ends with its holder, whatever the holder left behind."""

import os
import subprocess
import sys
from pathlib import Path

from events.filelock import FileLock
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
