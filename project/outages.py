"""Telling an outage, which passes, from a fault in the code, which does not."""

from django.db import InterfaceError, OperationalError

RETRY_AFTER_S = 5  # what clients are told


def is_outage(error: BaseException | None) -> bool:
    """Tell whether the database refused, hung up, or had no turn to write for us in time."""
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    # SQLite also says OperationalError where a table or a column is missing.
    return not str(error).startswith("no such ")
