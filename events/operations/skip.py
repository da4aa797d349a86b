"""Give deliveries up for good, because a named operator says so, and let what waited behind go."""

from collections.abc import Collection, Sequence
from functools import partial

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from events import queue as doorbell
from events.delivery import settle
from events.models import Delivery, DeliveryState
from events.operations.chunks import Progress, chunks, in_short_transaction, silent
from events.operations.selection import Selection
from events.operations.signature import signed
from events.receivers import queue_of

SKIPPABLE_STATES = (DeliveryState.DEAD, DeliveryState.PENDING, DeliveryState.WAITING)


def skip(
    selection: Selection,
    *,
    by: str,
    reason: str,
    limit: int | None = None,
    progress: Progress = silent,
) -> tuple[int, int]:
    """Skip the chosen deliveries. Return how many were, and how many were taken meanwhile.

    The set is fixed when the call begins. What a worker runs by the time its chunk comes, or
    another operator has moved on, is let be. Done in chunks that commit: stopped half-way, another
    call does the rest. Raises Unsigned without a name or a reason.
    """
    ids = list(selection.deliveries().values_list("pk", flat=True)[:limit])
    skipped = _skip_ids(ids, [selection.state], by, reason, progress)
    return len(skipped), len(ids) - len(skipped)


def skip_chosen(deliveries: QuerySet[Delivery], *, by: str, reason: str) -> list[int]:
    """Skip hand-picked deliveries, those running or finished excepted; return the ids of the rest.

    Raises Unsigned without a name or a reason.
    """
    open_ones = deliveries.filter(state__in=SKIPPABLE_STATES)
    ids = list(open_ones.order_by("pk").values_list("pk", flat=True))
    return _skip_ids(ids, SKIPPABLE_STATES, by, reason)


def _skip_ids(
    ids: Sequence[int],
    states: Collection[DeliveryState],
    by: str,
    reason: str,
    progress: Progress = silent,
) -> list[int]:
    by, reason = signed(by=by, reason=reason)
    skipped: list[int] = []
    for chunk in chunks(ids):
        skipped += in_short_transaction(partial(give_up, chunk, states, by, reason))
        progress(len(chunk))
    return skipped


def give_up(
    ids: Sequence[int], states: Collection[DeliveryState], by: str, reason: str
) -> list[int]:
    """Skip those deliveries that are in one of the states, in the running transaction.

    Return which were. Name and reason are `signed`.
    """
    # The states are asked again, of locked rows: no worker can take one of these any more.
    chosen = list(
        Delivery.objects.filter(pk__in=ids, state__in=states).select_for_update().order_by("pk")
    )
    skipped = [delivery.pk for delivery in chosen]
    if skipped:
        Delivery.objects.filter(pk__in=skipped).update(
            state=DeliveryState.SKIPPED,
            due_at=None,
            run_alone=False,
            finished_at=Now(),
            died_at=None,
            skipped_by=by,
            skip_reason=reason,
        )
        transaction.on_commit(lambda: settle.wake_successors(chosen), robust=True)
        queues = {queue_of(each.receiver, noted=each.queue) for each in chosen}
        transaction.on_commit(partial(doorbell.ring, *sorted(queues)), robust=True)
    return skipped
