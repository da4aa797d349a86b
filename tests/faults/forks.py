"""Run a piece of work in a forked copy of the test's process, and see how the copy ends.

A fork costs some milliseconds where a new interpreter costs a second. What the child patches, the
test never sees. The child must not use, or close, what it shares with the test: the connection.
"""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from django.db import connection

from tests.faults import crashpoints
from tests.faults.crashpoints import CrashPoint

PATIENCE_S = 60  # then the child is killed by SIGALRM

_inherited: list[Any] = []  # connections of the parent's, kept from being closed by the collector


class NeverReached(AssertionError):
    """The work ended, and the crash point was not passed."""


def crash(work: Callable[[], object], point: CrashPoint, passage: int = 1) -> None:
    """Do the work in a child that dies at a crash point. Raises NeverReached where it does not."""

    def armed() -> None:
        crashpoints.arm(point, passage)
        work()

    status = in_child(armed)
    if status == 0:
        raise NeverReached(
            f"{point.name} was not passed. See what of `{point.where}` is called today, and mend "
            "the point in tests/faults/crashpoints.py."
        )
    assert status == -signal.SIGKILL, f"The child ended with {status}; its error is on stderr."


def in_child(work: Callable[[], object]) -> int:
    """Do the work in a forked child. Return its exit code, negative where a signal ended it."""
    assert not connection.in_atomic_block, "a fork in a transaction would share it"
    connection.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the child uses none
        pid = os.fork()
    if pid == 0:
        _be_the_child(work)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _be_the_child(work: Callable[[], object]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE_S)
        _leave_the_pool()
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _leave_the_pool() -> None:
    # psycopg's pool lives in threads, which a fork does not have.
    options = connection.settings_dict.get("OPTIONS", {})
    if options.get("pool"):
        _inherited.append(connection.pool)  # type: ignore[attr-defined]
        options["pool"] = False
