"""Give claimed deliveries their verdict. Every update is fenced by the lease token."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

from events.delivery.failure import Failure
from events.models import Attempt, Delivery, DeliveryState
from events.rows import among

WAKE_LIMIT = 500  # rows; what is left of a longer lane is woken by the sweep

UNLEASED = {"lease_token": None, "lease_owner": "", "lease_expires_at": None}
_JUDGED = {**UNLEASED, "run_alone": False}

# In place of a fingerprint: its last run ended without a verdict, and was not held against it.
# That happens once. A delivery that does it again is no victim of circumstances.
EXCUSED = "excused"


class LeaseLost(Exception):
    """The worker overslept its lease, and others have the delivery now. Its work is rolled back."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def ours(deliveries: Sequence[Delivery]) -> QuerySet[Delivery]:
    """Return those of one claim that are still held under its token."""
    return Delivery.objects.filter(
        among("pk", [delivery.pk for delivery in deliveries]),
        lease_token=deliveries[0].lease_token,
    )


def finish(deliveries: Sequence[Delivery]) -> None:
    """Mark deliveries done and, once that is committed, wake what waits behind them.

    Raises LeaseLost if any was taken. A claim that parks one after the waking has begun sees the
    commit, and wakes it itself; what is still missed, with a process that dies, the sweep wakes.
    """
    finished = ours(deliveries).update(
        state=DeliveryState.DONE,
        finished_at=Now(),
        last_error="",
        fingerprint="",
        **_JUDGED,
    )
    if finished != len(deliveries):
        raise LeaseLost
    transaction.on_commit(lambda: wake_successors(deliveries), robust=True)


def hand_back(
    deliveries: Sequence[Delivery],
    *,
    delay_s: float = 0,
    run_alone: bool | None = None,
    excuse: Failure | None = None,
) -> None:
    """Return deliveries without a verdict, their attempt uncounted. Lost ones are let be.

    `run_alone` says whether they may share the next claim; by default that stays as it is.
    `excuse` says what kept them from a verdict.
    """
    if deliveries:
        changed: dict[str, object] = {} if run_alone is None else {"run_alone": run_alone}
        if excuse:
            changed |= excused(excuse)
        ours(deliveries).update(
            state=DeliveryState.PENDING,
            due_at=_due_in(delay_s),
            attempts=F("attempts") - 1,
            **UNLEASED,
            **changed,
        )


def excused(by: Failure) -> dict[str, object]:
    """Return the columns that keep what is not held against a delivery."""
    return {"last_error": by.summary, "fingerprint": EXCUSED}


def fail(
    delivery: Delivery, failure: Failure, *, started_at: datetime, retry_in_s: float | None
) -> None:
    """Record a failed attempt; try again in `retry_in_s`, or never (`None`: dead)."""
    with transaction.atomic():
        if ours([delivery]).update(**_after_failure(failure, retry_in_s), **_JUDGED):
            record_attempt(delivery, failure, started_at=started_at)


def record_attempt(delivery: Delivery, failure: Failure, *, started_at: datetime) -> None:
    """Keep a failed attempt as a row."""
    Attempt.objects.create(
        delivery=delivery,
        number=delivery.attempts,
        started_at=started_at,
        ended_at=max(started_at, timezone.now()),  # a clock may step back
        error_class=failure.error_class,
        error_message=failure.message,
        traceback=failure.traceback,
        fingerprint=failure.fingerprint,
        release=settings.RELEASE,
    )


def _after_failure(failure: Failure, retry_in_s: float | None) -> dict[str, object]:
    described = {"last_error": failure.summary, "fingerprint": failure.fingerprint}
    if retry_in_s is None:
        return {"state": DeliveryState.DEAD, "due_at": None, "died_at": Now(), **described}
    return {"state": DeliveryState.PENDING, "due_at": _due_in(retry_in_s), **described}


def _due_in(seconds: float) -> Combinable:
    # SQLite compares texts: a sum, written with more digits, is due a millisecond after now.
    return Now() + timedelta(seconds=seconds) if seconds else Now()


def wake_successors(deliveries: Sequence[Delivery]) -> int:
    """Make due what waits in these lanes; a claim parks again what must still wait."""
    lanes = Q(pk__in=[])
    for receiver, target in {(delivery.receiver, delivery.target) for delivery in deliveries}:
        keys = {d.key for d in deliveries if (d.receiver, d.target) == (receiver, target)}
        lanes |= Q(among("key", keys), receiver=receiver, target=target)
    return wake(Delivery.objects.filter(lanes, state=DeliveryState.WAITING))


def wake(waiting: QuerySet[Delivery]) -> int:
    """Make waiting deliveries due, the earliest first, at most WAKE_LIMIT. Return how many."""
    earliest = waiting.order_by("position").values("pk")[:WAKE_LIMIT]
    return Delivery.objects.filter(pk__in=earliest, state=DeliveryState.WAITING).update(
        state=DeliveryState.PENDING, due_at=Now()
    )
