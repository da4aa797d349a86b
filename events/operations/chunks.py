"""Long work is done in chunks of short transactions, so that other writers get their turn."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import QuerySet

from events.delivery.conflict import repeated
from events.delivery.turns import turn

T = TypeVar("T")

CHUNK_SIZE = 200  # rows in one transaction: some 20 ms of the writer that SQLite has only one of

DELETED_AT_ONCE = 1000  # rows in one statement

Progress = Callable[[int], None]  # hears the size of every chunk


def silent(count: int) -> None:
    """Report progress to nobody."""


def chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ids in chunks."""
    for start in range(0, len(ids), CHUNK_SIZE):
        yield ids[start : start + CHUNK_SIZE]


def delete_in_chunks(rows: QuerySet[Any]) -> int:
    """Delete rows, some in each statement, so that it may be stopped anywhere. Return how many.

    Those that no longer belong to the rows when their turn comes are let be.
    """
    total = 0
    while ids := list(rows.values_list("pk", flat=True)[:DELETED_AT_ONCE]):
        total += rows.order_by().filter(pk__in=ids).delete()[0]
    return total


def in_short_transaction(work: Callable[[], T]) -> T:
    """Run one chunk in its transaction: in turn with the drains, again after a conflict."""

    def run() -> T:
        with turn(), transaction.atomic():
            return work()

    return repeated(run)
