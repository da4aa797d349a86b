"""Ask others about an account, and take their answers: in time, late, or unasked."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Value, When
from django.utils import timezone

from accounts.signals import (
    RiskCheckRequested,
    RiskDecided,
    risk_check_requested,
    risk_decided,
)
from events.envelope import Event
from events.models import Event as EventRow
from events.operations.chunks import in_short_transaction
from relay.risk import ReceivedMessage, RiskCheck, RiskCheckState
from relay.signals import RiskCheckTimedOut, risk_check_timed_out

BATCH = 100  # checks that time out in one transaction


def open_checks(events: Sequence[Event[RiskCheckRequested]]) -> None:
    """Put requests on record, each with its deadline, before anybody can be asked."""
    limit = timedelta(seconds=settings.RISK_CHECK_DEADLINE_S)
    RiskCheck.objects.bulk_create(
        [
            RiskCheck(
                user_id=event.data.user_id,
                event_id=event.id,
                requested_at=event.occurred_at,
                deadline_at=event.occurred_at + limit,
            )
            for event in events
        ],
        ignore_conflicts=True,
    )


def receive_decision(*, message_id: str, user_id: UUID, decision: str, reason: str) -> bool:
    """Publish what somebody decided about an account, once per message id.

    It answers all open checks of the account; where all have timed out, the newest of them, late.
    Return whether this call did it: False for a message that was received before.
    """
    with transaction.atomic():
        message = ReceivedMessage(message_id=message_id)
        _, is_new = ReceivedMessage.objects.get_or_create(message_id=message.message_id)
        if is_new:
            _answer(user_id, decision)
            risk_decided.publish(RiskDecided(user_id=user_id, decision=decision, reason=reason))
    return is_new


def time_out_checks() -> int:
    """Publish that each check past its deadline got no answer, once. Return how many.

    In short transactions. Call it every few seconds, from any number of places.
    """
    total = 0
    while timed_out := in_short_transaction(partial(_time_out, BATCH)):
        total += timed_out
    return total


def _answer(user_id: UUID, decision: str) -> None:
    checks = RiskCheck.objects.select_for_update().filter(user_id=user_id, answered_at__isnull=True)
    found = list(checks.order_by("-requested_at", "-pk"))
    waiting = [check.pk for check in found if check.state == RiskCheckState.WAITING]
    chosen = waiting or [check.pk for check in found[:1]]
    RiskCheck.objects.filter(pk__in=chosen).update(
        state=Case(
            When(state=RiskCheckState.WAITING, then=Value(RiskCheckState.ANSWERED)),
            default=Value(RiskCheckState.ANSWERED_LATE),
        ),
        answered_at=timezone.now(),
        decision=decision,
    )


def _time_out(limit: int) -> int:
    now = timezone.now()
    overdue = RiskCheck.objects.filter(state=RiskCheckState.WAITING, deadline_at__lte=now)
    locked = list(overdue.select_for_update(skip_locked=True).order_by("deadline_at")[:limit])
    if not locked:
        return 0
    RiskCheck.objects.filter(pk__in=[check.pk for check in locked]).update(
        state=RiskCheckState.TIMED_OUT, timed_out_at=now
    )
    requests = _requests(locked)
    risk_check_timed_out.publish_many(
        [RiskCheckTimedOut(user_id=c.user_id, risk_check_id=c.pk) for c in locked],
        causes=[requests[check.event_id] for check in locked],
    )
    return len(locked)


def _requests(checks: Sequence[RiskCheck]) -> dict[UUID, Event[Any]]:
    """Return the events that the checks were opened for, by id."""
    rows = EventRow.objects.filter(event_id__in=[check.event_id for check in checks])
    return {row.event_id: risk_check_requested.read(row) for row in rows}
