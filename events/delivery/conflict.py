"""Failures that are nobody's fault: the database asks for the transaction to be repeated."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import (
    DatabaseError,
    Error,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from events.delivery.progress import told

T = TypeVar("T")
logger = logging.getLogger(__name__)

TRIES = 8
FIRST_DELAY_S = 0.05  # doubled each time, so that the tries last about ten seconds in all

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_REPEATABLE_STATES = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "25P03",  # idle_in_transaction_session_timeout
}
_FULL_STATES = {"53100", "58030"}  # disk_full, io_error


def is_conflict(error: BaseException) -> bool:
    """Tell whether repeating the same transaction may succeed: it lost a race or its connection."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, DatabaseError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    if state is not None:
        repeatable = state in _REPEATABLE_STATES or state.startswith("08")
        return repeatable or state in _FULL_STATES
    return isinstance(error, OperationalError) and (
        _is_lock_or_connection(str(error)) or is_full(error)
    )


def is_full(error: BaseException) -> bool:
    """Tell whether the database can not write for want of space: for hours, maybe."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state in _FULL_STATES or any(
        text in str(error) for text in ("disk is full", "disk I/O error")
    )


def _is_lock_or_connection(text: str) -> bool:
    return any(word in text for word in ("locked", "connection", "server closed", "terminating"))


def is_database_well() -> bool:
    """Tell whether the database answers now, at the first asking, and would let us write."""
    try:
        connection.close_if_unusable_or_obsolete()
        with transaction.atomic(), connection.cursor() as cursor:  # SQLite: takes its write lock
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def repeated(work: Callable[[], T]) -> T:
    """Run a transaction, again where it met a conflict; raise the last conflict after TRIES.

    What it does must be only in the database: it may run several times.
    """
    for number in range(1, TRIES + 1):
        told().busy_for(0)
        try:
            return work()
        except Exception as error:
            if not is_conflict(error) or number == TRIES:
                raise
            logger.info("Repeated after a conflict: %s", error)
            connection.close_if_unusable_or_obsolete()
            time.sleep(FIRST_DELAY_S * 2 ** (number - 1) * random.uniform(0.5, 1.5))  # noqa: S311
    raise AssertionError("unreachable")  # the loop returns or raises
