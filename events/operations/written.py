"""Find the rows that a block of code writes, on the block's own connection.

Every INSERT, UPDATE and DELETE of the block is made to return the primary keys it touched, however
many rows it writes at once. The rows are then read twice: inside the transaction, and after its
rollback. What the database writes by itself (triggers) is not seen; what cannot be followed (a
table without a model, a write inside WITH) is named instead.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Self

from django.apps import apps
from django.db import connection
from django.db.models import Model

ROW_LIMIT = 10_000  # keys kept of one table: more is no preview that anybody reads
STATEMENT_LENGTH = 100  # of a statement that is named; the parameters never are

_WRITE = re.compile(
    r"""\s*(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?)
    \s+(?P<table>"[^"]+"|\w+)(?:\s+AS\s+(?P<alias>"[^"]+"|\w+))?""",
    re.IGNORECASE | re.VERBOSE,
)
_READ = re.compile(
    r"[\s(]*(?:SELECT|VALUES|SHOW|SET|PRAGMA|SAVEPOINT|RELEASE|ROLLBACK)\b", re.IGNORECASE
)
_RETURNING = re.compile(r"\bRETURNING\b(?!.*\bRETURNING\b)", re.IGNORECASE | re.DOTALL)

Images = dict[type[Model], dict[Any, dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """One row before and after, with the columns that differ."""

    model: str  # "coupons.Coupon"
    key_name: str
    key: Any
    before: dict[str, Any] | None  # None: it is inserted
    after: dict[str, Any] | None  # None: it is deleted


class WrittenRows:
    """An execute wrapper (`connection.execute_wrapper`) that notes which rows are written."""

    def __init__(self) -> None:
        self._keys: dict[type[Model], dict[Any, None]] = {}  # in the order of writing
        self.not_followed: list[str] = []

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        """Run a statement; where it writes, keep the keys it returns and serve the rest."""
        cursor = context["cursor"]
        if isinstance(cursor.cursor, _Served):
            cursor.cursor = cursor.cursor.real
        model, following = (None, sql) if many else _following(str(sql))
        if model is None:
            if many or not _READ.match(str(sql)):
                self._name(str(sql))
            return execute(sql, params, many, context)
        result = execute(following, params, many, context)
        rows = cursor.cursor.fetchall()
        self._note(model, (row[0] for row in rows))
        cursor.cursor = _Served(cursor.cursor, [row[1:] for row in rows])
        return result

    def tables(self) -> list[str]:
        """Return the tables whose rows were written."""
        return [model._meta.db_table for model in self._keys]

    def images(self) -> Images:
        """Return the written rows as they are now; those that are not there are left out."""
        return {model: _read(model, list(keys)) for model, keys in self._keys.items()}

    def _note(self, model: type[Model], keys: Iterable[Any]) -> None:
        noted = self._keys.setdefault(model, {})
        for key in keys:
            if len(noted) >= ROW_LIMIT:
                return self._name(f"more than {ROW_LIMIT} rows of {model._meta.db_table}")
            noted[model._meta.pk.to_python(key)] = None
        return None

    def _name(self, what: str) -> None:
        text = " ".join(what.split())[:STATEMENT_LENGTH]
        if text not in self.not_followed:
            self.not_followed.append(text)


class _Served:
    """A cursor whose rows were fetched already, served once more without the added column."""

    def __init__(self, real: Any, rows: list[Any]) -> None:
        self.real = real
        self.rowcount = len(rows)
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        return list(islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def changes(before: Images, after: Images) -> list[RowChange]:
    """Return what differs between two looks at the same rows."""
    found = []
    for model in after:
        for key in dict.fromkeys([*before[model], *after[model]]):
            old, new = before[model].get(key), after[model].get(key)
            if old != new:
                found.append(_change(model, key, old, new))
    return found


def _change(
    model: type[Model], key: Any, old: dict[str, Any] | None, new: dict[str, Any] | None
) -> RowChange:
    if old is not None and new is not None:
        differing = [name for name in new if old[name] != new[name]]
        old, new = {n: old[n] for n in differing}, {n: new[n] for n in differing}
    return RowChange(
        model=model._meta.label, key_name=model._meta.pk.attname, key=key, before=old, after=new
    )


def _following(sql: str) -> tuple[type[Model] | None, str]:
    """Return the model a statement writes, and the statement made to return the keys first."""
    write = _WRITE.match(sql)
    model = _models_by_table().get(write["table"].strip('"')) if write else None
    if write is None or model is None:
        return None, sql
    key = f'"{model._meta.pk.column}"'
    if connection.vendor != "sqlite":  # where UPDATE … FROM may return other tables' columns too
        key = f"{write['alias'] or write['table']}.{key}"
    returning = _RETURNING.search(sql)
    if returning:
        return model, f"{sql[: returning.end()]} {key},{sql[returning.end() :]}"
    return model, f"{sql.rstrip().rstrip(';')} RETURNING {key}"


@cache
def _models_by_table() -> dict[str, type[Model]]:
    return {
        model._meta.db_table: model
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy and model._meta.pk.column  # a composite key has no column
    }


def _read(model: type[Model], keys: list[Any]) -> dict[Any, dict[str, Any]]:
    rows: dict[Any, dict[str, Any]] = {}
    for start in range(0, len(keys), 500):
        found = model._base_manager.filter(pk__in=keys[start : start + 500]).values()
        rows |= {row[model._meta.pk.attname]: row for row in found}
    return rows
