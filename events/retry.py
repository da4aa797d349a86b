"""When a failed delivery is tried again, and how a receiver says otherwise."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """Exponential backoff. The default tries 16 times within about four hours."""

    max_attempts: int = 16  # then the delivery is dead and waits for an operator
    first_delay_s: float = 1.0
    factor: float = 2.0
    max_delay_s: float = 3600.0
    jitter: float = 0.2  # up to this share is added, so that failures do not return in step

    def delay_s(self, attempts: int) -> float:
        """Return the seconds to wait after the given number of attempts (1 or more)."""
        # The exponent is bounded because a float overflows long before the cap would apply.
        delay = self.first_delay_s * self.factor ** min(attempts - 1, 64)
        return min(delay, self.max_delay_s) * (1 + random.random() * self.jitter)  # noqa: S311

    def is_exhausted(self, attempts: int) -> bool:
        """Tell whether a delivery with this many attempts has had its last."""
        return attempts >= self.max_attempts


class RetryLater(Exception):
    """Raised by a receiver that cannot work yet: try again in `seconds`, uncounted."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The receiver asked to be tried again in {seconds:g} s.")
        self.seconds = seconds


class RetryIn(Exception):
    """Raised by a receiver with a schedule of its own: it failed, and is to be tried in `seconds`.

    Unlike RetryLater, this counts, and is kept as a failed attempt.
    """

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = seconds


class PermanentFailure(Exception):
    """Raised by a receiver that can never succeed with this event: no further attempts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
