"""How many deliveries to claim at once: as many as fill one short block."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

# A block holds SQLite's one write lock, or, on PostgreSQL, the locks of the rows it changes.
SQLITE_BLOCK_S, POSTGRES_BLOCK_S = 0.02, 0.25
SQLITE_MOST, POSTGRES_MOST = 200, 500
FIRST = 10
DEARER = 1.2  # times the cost of a delivery in the block before


class Pace:
    """The claim size of one drain, following what deliveries cost.

    Only the work itself is measured: a drain that waits for its turn is not a slow one.
    """

    def __init__(self) -> None:
        on_sqlite = connection.vendor == "sqlite"
        self._block_s = SQLITE_BLOCK_S if on_sqlite else POSTGRES_BLOCK_S
        self._most = SQLITE_MOST if on_sqlite else POSTGRES_MOST
        self._worked_s = 0.0
        self._cost_s = 0.0  # of one delivery, the last time
        self.limit = FIRST

    @contextmanager
    def working(self) -> Iterator[None]:
        """Measure some of the work on a claim."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._worked_s += time.monotonic() - started

    def adapt(self, count: int) -> None:
        """Set the next limit after a claim of `count`: at most doubled, at least halved."""
        cost_s = max(self._worked_s, 1e-6) / count
        wanted = int(self._block_s / cost_s)
        if wanted < self.limit and 0 < self._cost_s * DEARER < cost_s:
            # What a block costs by itself is too much already (a busy machine): being smaller
            # shortens none, and only makes each delivery dearer.
            wanted = self.limit * 2
        self.limit = max(1, min(wanted, self.limit * 2, self._most), self.limit // 2)
        self._cost_s, self._worked_s = cost_s, 0.0
