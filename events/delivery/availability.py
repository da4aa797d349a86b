"""Whether the database was away lately, as this process's sweeps saw it.

A delivery that was running when the database went away ended without a verdict, and that says
nothing about the delivery.
"""

import time

SILENCE_S = 5.0  # sweeps come every second; a gap of this length is an outage
MEMORY_S = 45.0  # longer than a lease: what ran during the outage has been released by then


class Availability:
    """When sweeps came through, and when they did not. Without sweeps nothing is ever away."""

    def __init__(self) -> None:
        self._heard_at: float | None = None
        self._away_at = float("-inf")

    def heard(self) -> None:
        """Note that a sweep came through."""
        if self._is_silent():
            self.failed()
        self._heard_at = time.monotonic()

    def failed(self) -> None:
        """Note that a sweep failed."""
        self._away_at = time.monotonic()

    def was_away_lately(self) -> bool:
        """Tell whether leases that end now may have lived through an outage."""
        return self._is_silent() or time.monotonic() - self._away_at < MEMORY_S

    def _is_silent(self) -> bool:
        return self._heard_at is not None and time.monotonic() - self._heard_at > SILENCE_S


availability = Availability()
