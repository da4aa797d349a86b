"""Functions run at the same moment, each on a database connection of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connections

R = TypeVar("R")
WAIT_S = 60.0


def run_at_once(functions: Sequence[Callable[[], R]]) -> list[R]:
    """Return the results of functions that all begin together. Raises what one of them raises."""
    barrier = Barrier(len(functions), timeout=WAIT_S)

    def run(function: Callable[[], R]) -> R:
        barrier.wait()
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as threads:
        return [task.result(WAIT_S) for task in [threads.submit(run, f) for f in functions]]
