"""Stop a receiver that runs too long, while its work can still be rolled back."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

A = TypeVar("A")

REPEAT_S = 1.0  # a receiver that swallows the first interruption gets another


class ReceiverTimedOut(SystemExit):
    """Raised inside a receiver at its limit.

    `except Exception` must not eat it, and of what is no Exception psycopg cancels the running
    query for SystemExit and KeyboardInterrupt only.
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"The receiver ran longer than its limit of {limit_s:g} s.")


def call_within(limit_s: float, function: Callable[[A], None], argument: A) -> None:
    """Call `function(argument)`; raise ReceiverTimedOut in it after `limit_s`.

    Without effect outside the main thread. An alarm that was running (django-q2 sets one) goes on
    afterwards. This is a function, not a context manager, because an alarm may fire between any two
    instructions, also those of contextlib, and must never stay armed.
    """
    if threading.current_thread() is not threading.main_thread():
        return function(argument)
    active = False

    def expire(signum: int, frame: FrameType | None) -> None:
        if active:
            raise ReceiverTimedOut(limit_s)

    started = time.monotonic()
    outer_handler = signal.signal(signal.SIGALRM, expire)
    outer_remaining_s, _ = signal.setitimer(signal.ITIMER_REAL, limit_s, REPEAT_S)
    try:
        try:
            active = True
            function(argument)
        finally:
            active = False  # raises at the most once more, into the block below
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, outer_handler)
        if outer_remaining_s:
            left_s = outer_remaining_s - (time.monotonic() - started)
            signal.setitimer(signal.ITIMER_REAL, max(left_s, 0.001))
    return None
