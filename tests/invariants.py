"""Run `check_invariants` in a test, and break what the database would not let be broken."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Model


def check(*arguments: str) -> dict[str, Any]:
    """Run the command; return its document, after a look at its exit code."""
    out, code = StringIO(), 0
    try:
        call_command("check_invariants", "--json", *arguments, stdout=out)
    except CommandError as error:
        code = error.returncode
    document: dict[str, Any] = json.loads(out.getvalue())
    assert code == (0 if document["ok"] else 1)
    return document


def broken(*arguments: str) -> dict[str, list[str]]:
    """Run the command; return what it says is broken, by invariant."""
    found = check(*arguments)["invariants"]
    return {i["id"]: [b["what"] for b in i["breaches"]] for i in found if i["breaches"]}


@contextmanager
def without_constraint(model: type[Model], name: str) -> Iterator[None]:
    """Run a block without one of the table's constraints; then all rows of all tables are gone."""
    kept = model._meta.constraints
    constraint = next(c for c in kept if c.name == name)
    # SQLite makes the table anew from the model, which must not have the constraint either.
    model._meta.constraints = [c for c in kept if c is not constraint]
    with connection.schema_editor() as editor:
        editor.remove_constraint(model, constraint)
    try:
        yield
    finally:
        call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=True)
        model._meta.constraints = kept
        with connection.schema_editor() as editor:
            editor.add_constraint(model, constraint)
