"""A block that may only read: what is simulated must leave no trace, whatever code it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

_LOCKING = ("FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE", "FOR KEY SHARE")


class WriteRefused(RuntimeError):
    """Something in a block that may only read was about to write, or to lock rows."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@contextmanager
def reading_only() -> Iterator[None]:
    """Let the block send no statement to the database but those that read without locks."""
    with connection.execute_wrapper(_refuse_writes):
        yield


def _refuse_writes(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
) -> Any:
    statement = sql.strip().upper()
    if not statement.startswith("SELECT ") or any(lock in statement for lock in _LOCKING):
        raise WriteRefused
    return execute(sql, params, many, context)
