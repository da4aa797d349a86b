"""The tables that are copied, and the sum by which two copies of one are compared."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.apps import apps
from django.db.models import Field, Model

from events.operations.checksum import TableSum

CHUNK_SIZE = 500  # rows read, and written, at once
_MODULUS = 2**256

# What `migrate` fills in by itself. The copy has the source's rows instead, with their ids.
FILLED_BY_MIGRATE = frozenset({
    "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"
})  # fmt: skip


def copied_models() -> list[type[Model]]:
    """Return every model with a table, those between models that are many to many too.

    What is left out is no model's: the record of migrations, which the target makes itself, and the
    shared cache, whose rate limits begin anew.
    """
    models = (
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and not model._meta.swapped
    )
    return sorted(models, key=lambda model: model._meta.label)


def written_fields(model: type[Model]) -> list["Field[Any, Any]"]:
    """Return the columns that a row is made of, without those the database works out itself."""
    return [field for field in model._meta.concrete_fields if not field.generated]


def chunks_of(model: type[Model], *, using: str) -> Iterator[list[Model]]:
    """Yield all rows, some at a time. Call it in a transaction: it reads by a cursor."""
    rows = model._base_manager.using(using).order_by("pk").iterator(chunk_size=CHUNK_SIZE)
    while chunk := list(islice(rows, CHUNK_SIZE)):
        yield chunk


class Sum:
    """Adds rows up, in whatever order they come."""

    def __init__(self, model: type[Model]) -> None:
        self._columns = [field.attname for field in written_fields(model)]
        self._rows = self._total = 0

    def add(self, rows: Sequence[Model]) -> None:
        """Count these rows in."""
        for row in rows:
            text = json.dumps(
                [getattr(row, name) for name in self._columns], sort_keys=True, default=_as_text
            )
            self._total += int.from_bytes(hashlib.sha256(text.encode()).digest())
        self._rows += len(rows)

    def result(self) -> TableSum:
        """Return the sum so far."""
        return TableSum(rows=self._rows, checksum=f"{self._total % _MODULUS:064x}")


def sum_of(model: type[Model], chunks: Iterable[list[Model]]) -> TableSum:
    """Return the sum of a table's rows."""
    added = Sum(model)
    for chunk in chunks:
        added.add(chunk)
    return added.result()


def _as_text(value: Any) -> str:
    """Return the same text for a value whichever database it comes from."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value)
