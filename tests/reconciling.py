"""Run `reconcile` in a test."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.models import Delivery

Document = dict[str, Any]


def reconcile(*arguments: str, grace: str = "0") -> Document:
    """Run the command; return its document, after a look at its exit code."""
    out, code = StringIO(), 0
    try:
        call_command(
            "reconcile", "--json", "--grace", grace, *arguments, stdout=out, stderr=StringIO()
        )
    except SystemExit as ended:
        code = int(ended.code or 0)
    document: Document = json.loads(out.getvalue())
    assert code == (0 if document["ok"] else 1)
    return document


def kinds(document: Document) -> list[tuple[str, str]]:
    """Return which audits found what."""
    return [(finding["audit"], finding["kind"]) for finding in document["findings"]]


def statements(work: Callable[[], object]) -> int:
    """Return how many statements some work sends."""
    with CaptureQueriesContext(connection) as sent:
        work()
    return len(sent)


def forget_deliveries(receiver: str) -> None:
    """Delete a receiver's finished deliveries, as pruning does."""
    Delivery.objects.filter(receiver=receiver, finished_at__isnull=False).delete()
