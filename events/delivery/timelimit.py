"""Stop a receiver that runs too long, while its work can still be rolled back."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_S = 1.0  # a receiver that swallows the first interruption gets another


class ReceiverTimedOut(BaseException):
    """Raised inside a receiver at its limit. No Exception: `except Exception` must not eat it."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"The receiver ran longer than its limit of {limit_s:g} s.")


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise ReceiverTimedOut in the block after `limit_s`. Without effect outside the main thread.

    An alarm that was running (django-q2 sets one) goes on afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(signum: int, frame: FrameType | None) -> None:
        raise ReceiverTimedOut(limit_s)

    started = time.monotonic()
    outer_handler = signal.signal(signal.SIGALRM, expire)
    outer_remaining, _ = signal.setitimer(signal.ITIMER_REAL, limit_s, REPEAT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, outer_handler)
        if outer_remaining:
            left = outer_remaining - (time.monotonic() - started)
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))
