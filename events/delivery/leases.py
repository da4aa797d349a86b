"""Take back the leases of workers that died or overslept."""

import logging

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from events.delivery import settle
from events.delivery.availability import availability
from events.delivery.failure import Failure
from events.delivery.owner import is_dead, is_local
from events.models import Delivery, DeliveryState
from events.receivers import Guarantee, Receiver, get_receiver
from events.retry import RetrySchedule

logger = logging.getLogger(__name__)

RELEASE_LIMIT = 500  # rows in one transaction
DIED = Failure(
    error_class="WorkerDied",
    message="The worker process ended, or overslept its lease, while it ran this delivery alone.",
    traceback="",
    fingerprint="worker-died",
)

AWAY = Failure(
    error_class="DatabaseAway",
    message="The database was away while this delivery ran. That was not held against it.",
    traceback="",
    fingerprint=settle.EXCUSED,
)


def release_expired() -> int:
    """Release leases past their end. Return how many."""
    return _release(Q(lease_expires_at__lt=Now()))


def release_dead_local() -> int:
    """Release the leases of this machine's dead processes at once, so a crash delays nobody."""
    owners = _leased().values_list("lease_owner", flat=True).distinct()
    dead = [owner for owner in owners if is_local(owner) and is_dead(owner)]
    return _release(Q(lease_owner__in=dead)) if dead else 0


def _leased() -> QuerySet[Delivery]:
    return Delivery.objects.filter(lease_expires_at__isnull=False)


def _release(condition: Q) -> int:
    if not _leased().filter(condition).exists():  # spares SQLite a write transaction a second
        return 0
    with transaction.atomic():
        # A worker inside its effect block holds the row: it is alive, and skipped here.
        locked = list(
            _leased().filter(condition).select_for_update(skip_locked=True)[:RELEASE_LIMIT]
        )
        shared = [d for d in locked if not d.run_alone and not _is_at_most_once(d)]
        victims = [d for d in locked if d not in shared and _is_victim(d)]
        for delivery in locked:
            if delivery not in shared and delivery not in victims:
                _count(delivery)
        _release_uncounted(shared)
        _release_uncounted(victims, **settle.excused(AWAY))
    if locked:
        logger.warning("Released %d deliveries of workers that died or overslept.", len(locked))
    return len(locked)


def _is_victim(delivery: Delivery) -> bool:
    """Tell whether an outage of the database is why a delivery that ran alone has no verdict."""
    return (
        availability.was_away_lately()
        and delivery.fingerprint != settle.EXCUSED
        and not _is_at_most_once(delivery)
    )


def _release_uncounted(deliveries: list[Delivery], **changed: object) -> None:
    """Put back deliveries that are not known to have killed their worker.

    They run alone next, so that one killer cannot take others with it again.
    """
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries]).update(
        state=DeliveryState.PENDING,
        due_at=Now(),
        attempts=F("attempts") - 1,
        run_alone=True,
        **settle.UNLEASED,
        **changed,
    )


def _count(delivery: Delivery) -> None:
    """Count an attempt that ended without a verdict though it ran alone."""
    receiver = _receiver(delivery)
    retry = receiver.retry if receiver else RetrySchedule()
    dead = retry.is_exhausted(delivery.attempts) or _is_at_most_once(delivery)
    delay_s = None if dead else retry.delay_s(delivery.attempts)
    settle.fail(delivery, DIED, started_at=timezone.now(), retry_in_s=delay_s)


def _is_at_most_once(delivery: Delivery) -> bool:
    receiver = _receiver(delivery)
    return receiver is not None and receiver.guarantee is Guarantee.AT_MOST_ONCE


def _receiver(delivery: Delivery) -> Receiver | None:
    try:
        return get_receiver(delivery.receiver)
    except KeyError:  # another release's: the default rules apply
        return None
