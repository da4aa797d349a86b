"""How many deliveries to claim at once: as many as fill one short block."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

# A block holds SQLite's one write lock, or, on PostgreSQL, the locks of the rows it changes.
SQLITE_BLOCK_S, POSTGRES_BLOCK_S = 0.02, 0.25
SQLITE_MOST, POSTGRES_MOST = 100, 500
FIRST = 10


class Pace:
    """The claim size of one drain, following what deliveries cost."""

    def __init__(self) -> None:
        on_sqlite = connection.vendor == "sqlite"
        self._block_s = SQLITE_BLOCK_S if on_sqlite else POSTGRES_BLOCK_S
        self._most = SQLITE_MOST if on_sqlite else POSTGRES_MOST
        self.limit = FIRST

    @contextmanager
    def measured(self, count: int) -> Iterator[None]:
        """Measure a block of `count` deliveries; the next claim at most doubles or halves."""
        started = time.monotonic()
        yield
        per_delivery_s = max(time.monotonic() - started, 1e-6) / count
        wanted = int(self._block_s / per_delivery_s)
        self.limit = max(1, min(wanted, self.limit * 2, self._most), self.limit // 2)
