"""What becomes of a delivery whose receiver did not return: tried again, or dead."""

import logging
from collections.abc import Sequence
from datetime import datetime

from events import context
from events.delivery import settle
from events.delivery.conflict import repeated
from events.delivery.failure import Failure, describe
from events.models import Delivery
from events.receivers import Guarantee, Receiver
from events.retry import PermanentFailure, RetryIn, RetryLater

logger = logging.getLogger(__name__)


def give(receiver: Receiver, delivery: Delivery, error: Exception, started_at: datetime) -> None:
    """Settle one delivery by what its receiver raised. One that was lost is let be."""
    with context.concerning((delivery,)):
        _give(receiver, delivery, error, started_at)


def _give(receiver: Receiver, delivery: Delivery, error: Exception, started_at: datetime) -> None:
    if isinstance(error, settle.LeaseLost):
        logger.warning("%s: delivery %s: %s", receiver.name, delivery.pk, error)
    elif isinstance(error, RetryLater):
        hand_back([delivery], delay_s=error.seconds, run_alone=False)
    else:
        retry_in_s = _retry_in_s(receiver, delivery, error)
        failure = describe(error)
        repeated(
            lambda: settle.fail(delivery, failure, started_at=started_at, retry_in_s=retry_in_s)
        )
        _log_failure(delivery, error, retry_in_s)


def hand_back(
    deliveries: Sequence[Delivery],
    *,
    delay_s: float = 0,
    run_alone: bool | None = None,
    excuse: Failure | None = None,
) -> None:
    """Return deliveries uncounted (see `settle.hand_back`), again after a conflict."""
    repeated(
        lambda: settle.hand_back(deliveries, delay_s=delay_s, run_alone=run_alone, excuse=excuse)
    )


def _retry_in_s(receiver: Receiver, delivery: Delivery, error: Exception) -> float | None:
    """Return the seconds until the next attempt, or None where the delivery is dead."""
    final = (
        isinstance(error, PermanentFailure)
        or receiver.guarantee is Guarantee.AT_MOST_ONCE
        or receiver.retry.is_exhausted(delivery.attempts)
    )
    if final:
        return None
    own = error.seconds if isinstance(error, RetryIn) else None
    return receiver.retry.delay_s(delivery.attempts) if own is None else own


def _log_failure(delivery: Delivery, error: Exception, retry_in_s: float | None) -> None:
    outlook = (
        f"is dead; `manage.py replay --event {delivery.event_id}` puts it back"
        if retry_in_s is None
        else f"is tried again in {retry_in_s:.0f} s"
    )
    logger.error(
        "%s failed on event %s (attempt %d: %s) and %s.",
        delivery.receiver,
        delivery.event_id,
        delivery.attempts,
        type(error).__name__,
        outlook,
        extra={"error": error},  # for who reports errors: the line itself has no traceback
    )
