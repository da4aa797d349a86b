"""How the database reads what is asked for, where tables are long."""

from collections.abc import Callable
from typing import Any

from django.db import connection, transaction


def plans_of(work: Callable[[], object]) -> list[tuple[str, str]]:
    """Return each query of some work, and how the database reads it."""
    asked: list[tuple[str, Any]] = []

    def noting(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "WITH")):
            asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(noting):
        work()
    return [(sql, _plan_of(sql, params)) for sql, params in asked]


@transaction.atomic
def _plan_of(sql: str, params: Any) -> str:
    """Return how the database reads what a query asks for, where the tables are long."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # which is cheap while they are short
            cursor.execute(f"EXPLAIN {sql}", params)
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        return "\n".join(str(row) for row in cursor.fetchall())
