"""Steps of the database's clock: all that is due is due by it, and it may be set back.

Set forward, it ends leases early, which the fence is for. Set back by an hour, it would have what
was due a moment ago wait for an hour, and a dead machine's deliveries as long.
"""

import logging
import time
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from events.delivery import claim
from events.models import Delivery

logger = logging.getLogger(__name__)

TOLERANCE_S = 5.0  # a smaller step delays nobody by more
CHUNK_SIZE = 500  # rows in one statement
_NOW = {
    "postgresql": "SELECT statement_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",  # as exact as Now() there
}


class ClockWatch:
    """Compares the database's clock with the time that has passed since it was last looked at."""

    def __init__(self) -> None:
        self._answered_at = 0.0  # monotonic
        self._showed: datetime | None = None

    def advance(self) -> int:
        """Look at the clock; where it was set back, undo what that put off. Return how many."""
        # From the last answer to this question: an answer that takes long is no step.
        passed = timedelta(seconds=time.monotonic() - self._answered_at)
        expected, now = self._showed and self._showed + passed, database_now()
        self._answered_at, self._showed = time.monotonic(), now
        if expected is None or expected - now < timedelta(seconds=TOLERANCE_S):
            return 0
        logger.warning("The database's clock was set back from %s to %s.", expected, now)
        return _make_due_again(expected) + _shorten_leases()


def database_now() -> datetime:
    """Return what the database's clock shows."""
    with connection.cursor() as cursor:
        cursor.execute(_NOW[connection.vendor])
        shown = cursor.fetchone()[0]
    return shown if isinstance(shown, datetime) else datetime.fromisoformat(shown)


def _make_due_again(expected: datetime) -> int:
    """Make due what was due already. A retry that was still to come may come late."""
    put_off = Delivery.objects.filter(due_at__gt=Now(), due_at__lte=expected)
    return _in_chunks(put_off, due_at=Now())


def _shorten_leases() -> int:
    """Let no lease last longer than a lease lasts."""
    lease_end = Now() + timedelta(seconds=claim.LEASE_S)
    return _in_chunks(
        Delivery.objects.filter(lease_expires_at__gt=lease_end + timedelta(seconds=TOLERANCE_S)),
        lease_expires_at=lease_end,
    )


def _in_chunks(rows: QuerySet[Delivery], **values: object) -> int:
    total = 0
    while chunk := list(rows.values_list("pk", flat=True)[:CHUNK_SIZE]):
        total += rows.filter(pk__in=chunk).update(**values)
    return total
