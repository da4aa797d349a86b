"""Taking the addresses of a person out of what staff did and wrote about them."""

import re
from collections.abc import Collection
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import Model, Q, QuerySet

from accounts.models import NOTE_LENGTH, StatusChange
from events.interventions import Intervention
from events.models import Delivery, DeliveryState, ReceiverState

OBJECT_REPR_LENGTH = 200  # of the admin's log
_WHO_LENGTH, _REASON_LENGTH = 150, 200  # of interventions in events
AT_ONCE = 500  # rows in one statement

# Where addresses may stand, and how long the text may be; None: as long as it likes. Interventions
# first: until they have ended they go on to write their reason into deliveries and the log.
_TEXTS: dict[type[Model], dict[str, int | None]] = {
    Intervention: {
        "asked_by": _WHO_LENGTH,
        "reason": _REASON_LENGTH,
        "decided_by": _WHO_LENGTH,
        "decision": _REASON_LENGTH,
    },
    LogEntry: {"object_repr": OBJECT_REPR_LENGTH, "change_message": None},
    StatusChange: {"note": NOTE_LENGTH},  # of whomever: one reason may be given for many people
    Delivery: {"skipped_by": _WHO_LENGTH, "skip_reason": _REASON_LENGTH},
    ReceiverState: {"paused_by": _WHO_LENGTH, "pause_reason": _REASON_LENGTH},
}
# Where nobody wrote anything into most of many rows: which have an index of their own.
_WRITTEN: dict[type[Model], Q] = {Delivery: Q(state=DeliveryState.SKIPPED)}


def redact(*, addresses: Collection[str], placeholder: str) -> None:
    """Put the placeholder for the addresses wherever staff wrote them.

    It reads all that they ever wrote: do not call it with a lock held.
    """
    for model, columns in _TEXTS.items():
        written = model._base_manager.filter(_WRITTEN.get(model, Q()))
        found = list(written.filter(_naming(addresses, columns)).values_list("pk", flat=True))
        for first in range(0, len(found), AT_ONCE):
            rows = model._base_manager.filter(pk__in=found[first : first + AT_ONCE])
            _replace(rows, addresses, placeholder)


def _replace(rows: QuerySet[Any], addresses: Collection[str], placeholder: str) -> None:
    """Read rows again, locked: what others write into them meanwhile is to stay."""
    columns = _TEXTS[rows.model]
    with transaction.atomic():
        locked = list(rows.select_for_update(of=("self",)))
        for row in locked:
            for column, length in columns.items():
                text = without(getattr(row, column), addresses=addresses, placeholder=placeholder)
                setattr(row, column, text[:length])
        rows.model._base_manager.bulk_update(locked, list(columns))


def without(text: str, *, addresses: Collection[str], placeholder: str) -> str:
    """Return a text with the placeholder for the addresses, however they are capitalised."""
    either = "|".join(map(re.escape, sorted(addresses)))
    # Not inside of another person's longer address.
    return re.sub(
        rf"(?<![\w.+-])(?:{either})(?![\w-]|\.\w)", placeholder, text, flags=re.IGNORECASE
    )


def _naming(addresses: Collection[str], columns: Collection[str]) -> Q:
    named = Q(pk__in=[])
    for address in addresses:
        for column in columns:
            named |= Q(**{f"{column}__icontains": address})
    return named
