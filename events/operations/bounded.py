"""Counting that stops somewhere: "more than 10,000" is all that a page needs to know."""

from typing import Any

from django.db.models import F, IntegerField, QuerySet, Subquery

MOST = 10_000


class _CountOfRows(Subquery):
    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


class _CountOfValues(Subquery):
    template = "(SELECT COUNT(DISTINCT counted.value) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def count_up_to(rows: QuerySet[Any], most: int = MOST) -> Subquery:
    """Return, for an annotation, how many rows there are; `most` + 1 where there are more.

    Rows are in the order of an index: else the database may well go through the table for them.
    """
    return _CountOfRows(rows.values("pk")[: most + 1])


def distinct_up_to(rows: QuerySet[Any], field: str, most: int = MOST) -> Subquery:
    """Return, for an annotation, how many values a field has in the first `most` + 1 rows."""
    return _CountOfValues(rows.annotate(value=F(field)).values("value")[: most + 1])
