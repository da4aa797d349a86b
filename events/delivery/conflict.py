"""Failures that are nobody's fault: the database asks for the transaction to be repeated."""

from django.db import DatabaseError, InterfaceError, OperationalError

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


def is_conflict(error: BaseException) -> bool:
    """Tell whether repeating the same transaction may succeed: it lost a race or its connection."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, DatabaseError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    if state is not None:
        return state in _REPEATABLE_STATES or state.startswith("08")
    return isinstance(error, OperationalError) and _is_lock_or_connection(str(error))


def _is_lock_or_connection(text: str) -> bool:
    return any(word in text for word in ("locked", "connection", "server closed", "terminating"))
