"""Writing the history of statuses, and what it tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import FRAUD, NOTE_LENGTH, AccountStatus, StatusChange, StatusSubject
from events.envelope import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a status is changed, and by whom."""

    reason: str  # a short code, which is published
    actor: UUID | None = None  # the account of whoever did it; None: nobody in person
    note: str = ""  # in their words, which are not published


def record(
    *,
    subject: StatusSubject,
    user_ids: Sequence[UUID],
    before: Sequence[str],
    after: str,
    events: Sequence[Event[Any]],
    why: Why,
) -> None:
    """Write one row for each event that was published, parallel to the people it is about."""
    StatusChange.objects.bulk_create(
        StatusChange(
            user_id=user_id,
            subject=subject,
            before=was,
            after=after,
            reason=why.reason,
            note=why.note[:NOTE_LENGTH],
            actor_id=why.actor,
            event_id=event.id,
        )
        for user_id, was, event in zip(user_ids, before, events, strict=True)
    )


def latest_of_account(user_id: UUID) -> StatusChange | None:
    """Return the latest change of an account itself; None where there was none."""
    return _of_account(user_id).first()


def is_fraud(user_id: UUID) -> bool:
    """Tell whether an account was closed for fraud, at once or after its owner had left."""
    return _of_account(user_id).filter(after=AccountStatus.CLOSED, reason=FRAUD).exists()


def reason_of_flag(user_id: UUID) -> str | None:
    """Return the reason of an account's latest flag; None where it was never flagged."""
    flags = _of_account(user_id).filter(after=AccountStatus.FLAGGED)
    return flags.values_list("reason", flat=True).first()


def _of_account(user_id: UUID) -> QuerySet[StatusChange]:
    """Return the changes of an account itself, the latest first."""
    changes = StatusChange.objects.filter(user=user_id, subject=StatusSubject.ACCOUNT)
    return changes.order_by("-pk")
