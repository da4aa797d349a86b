"""What operators did, on record: in the admin's history of each row, in the same transaction."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import Model

from events.operations.signature import NAME_LENGTH

Operator = AbstractBaseUser | AnonymousUser  # as a request has it; views let nobody unknown through


def name_of(operator: Operator) -> str:
    """Return the name that is kept with what an operator changes."""
    return operator.get_username()[:NAME_LENGTH]


def put_on_record(operator: Operator, changed: Iterable[Model], what: str) -> None:
    """Write who did what to the history of each row, in one statement. It takes lists too."""
    who: Any = operator.pk
    rows: Any = changed
    LogEntry.objects.log_actions(who, rows, CHANGE, what)


def with_reason(what: str, reason: str) -> str:
    """Return what is put on record: "Replayed", or "Replayed: the CRM is back"."""
    return f"{what}: {reason}" if reason else what
