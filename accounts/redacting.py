"""Taking the addresses of a person out of what staff did and wrote about them."""

import re
from collections.abc import Collection
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db.models import Model, Q

from accounts.models import NOTE_LENGTH, StatusChange
from events.interventions import Intervention
from events.models import Delivery, DeliveryState, ReceiverState

OBJECT_REPR_LENGTH = 200  # of the admin's log
_WHO_LENGTH, _REASON_LENGTH = 150, 200  # of interventions in events
AT_ONCE = 500  # rows in one statement

# Where addresses may stand, and how long the text may be; None: as long as it likes.
_TEXTS: dict[type[Model], dict[str, int | None]] = {
    LogEntry: {"object_repr": OBJECT_REPR_LENGTH, "change_message": None},
    StatusChange: {"note": NOTE_LENGTH},  # of whomever: one reason may be given for many people
    Delivery: {"skipped_by": _WHO_LENGTH, "skip_reason": _REASON_LENGTH},
    ReceiverState: {"paused_by": _WHO_LENGTH, "pause_reason": _REASON_LENGTH},
    Intervention: {
        "asked_by": _WHO_LENGTH,
        "reason": _REASON_LENGTH,
        "decided_by": _WHO_LENGTH,
        "decision": _REASON_LENGTH,
    },
}
# Where nobody wrote anything into most of many rows: which have an index of their own.
_WRITTEN: dict[type[Model], Q] = {Delivery: Q(state=DeliveryState.SKIPPED)}


def redact(*, addresses: Collection[str], placeholder: str) -> None:
    """Put the placeholder for the addresses wherever staff wrote them.

    It reads all that they ever wrote: do not call it with a lock held.
    """
    for model, columns in _TEXTS.items():
        written = model._base_manager.filter(_WRITTEN.get(model, Q()))
        rows: list[Any] = list(written.filter(_naming(addresses, columns)))
        for row in rows:
            for column, length in columns.items():
                text = without(getattr(row, column), addresses=addresses, placeholder=placeholder)
                setattr(row, column, text[:length])
        model._base_manager.bulk_update(rows, list(columns), batch_size=AT_ONCE)


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
