"""Django's cache in the database, which does not pass over it that the database is away."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.cache.backends import db
from django.db import OperationalError, connection, transaction


class DatabaseCache(db.DatabaseCache):
    """What limits are counted in: what can't be stored is no row of somebody else's.

    Django's own says the same of both, and so of an outage that there were too many requests.
    """

    def _base_set(self, *args: Any, **kwargs: Any) -> bool:
        with _outages_raised():
            stored: bool = super()._base_set(*args, **kwargs)  # type: ignore[misc]  # private
        return stored


@contextmanager
def _outages_raised() -> Iterator[None]:
    """Run a block, then raise the first OperationalError of its statements, caught or not."""
    outages: list[OperationalError] = []

    def noting(execute: Any, *statement: Any) -> Any:
        try:
            return execute(*statement)
        except OperationalError as error:
            outages.append(error)
            raise

    with connection.execute_wrapper(noting), _turn_to_write():
        yield
        if outages:
            raise outages[0]


@contextmanager
def _turn_to_write() -> Iterator[None]:
    """Wait for SQLite's write lock before the block: in it, it would be passed over."""
    if connection.vendor != "sqlite":
        yield
        return
    with transaction.atomic():
        yield
