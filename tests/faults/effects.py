"""What a piece of work changed in the tables of the apps, in a form two runs can be compared by.

Ids, codes, addresses and times differ from run to run. So rows of a table are counted by the words
that do not, and their numbers are summed: a balance that grew twice shows, though no row is new.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from django.apps import apps
from django.db import models

Effects: TypeAlias = Counter[tuple[str, str]]  # (table and words, "rows" or a column): how much

# The backbone's own tables, and those of sessions and the queue, hold no effects.
NO_EFFECTS = {"events", "sessions", "django_q", "admin", "contenttypes"}
_VARYING = (models.DateTimeField, models.UUIDField, models.AutoField, models.ForeignKey)
_NUMBERS = (models.IntegerField, models.DecimalField, models.FloatField)
_RUNNING_TOTALS = {"number", "balance_after"}  # of a ledger: they differ with what was before
_CODES = {"code_used"}  # copies of another row's: not unique, but another one in every run
_VARYING_WORDS = re.compile(r"[\w.+-]+@[\w.-]+|[\w$+/=-]{20,}")  # addresses, ids, tokens, hashes


def effect_tables() -> list[type[models.Model]]:
    """Return every table in which a receiver may have effects, the inboxes among them."""
    return [model for model in apps.get_models() if model._meta.app_label not in NO_EFFECTS]


def snapshot() -> Effects:
    """Return what is in the tables of effects now."""
    found: Effects = Counter()
    for model in effect_tables():
        numbers, words = _compared_columns(model)
        for row in _values(model, [*words, *numbers]):
            kind = f"{model._meta.label} {[_word(value) for value in row[: len(words)]]}"
            found[kind, "rows"] += 1
            for column, value in zip(numbers, row[len(words) :], strict=True):
                found[kind, column] += value or 0
    return found


def change(before: Effects, after: Effects) -> Effects:
    """Return what was added (positive) and what went (negative). What stayed is left out."""
    difference = Counter(after)
    difference.subtract(before)
    return Counter({what: amount for what, amount in difference.items() if amount})


def _compared_columns(model: type[models.Model]) -> tuple[list[str], list[str]]:
    """Return the names of the columns with numbers, and of those with words."""
    fields = [
        field
        for field in model._meta.concrete_fields
        if not (field.unique or isinstance(field, _VARYING) or field.name in _CODES)
    ]
    numbers = [f.name for f in fields if isinstance(f, _NUMBERS) and f.name not in _RUNNING_TOTALS]
    return numbers, [field.name for field in fields if not isinstance(field, _NUMBERS)]


def _values(model: type[models.Model], columns: list[str]) -> Iterable[tuple[Any, ...]]:
    rows = model._base_manager.all()
    if columns:
        return rows.values_list(*columns)
    return [()] * rows.count()  # without names, Django would return every column


def _word(value: Any) -> str:
    return _VARYING_WORDS.sub("…", str(value))
