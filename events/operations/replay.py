"""Put deliveries back, because an operator says so. Receivers are idempotent: twice is harmless."""

from collections.abc import Sequence
from functools import partial

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from events import queue as doorbell
from events.models import Delivery, DeliveryState
from events.operations.chunks import Progress, chunks, in_short_transaction, silent
from events.operations.selection import Selection
from events.receivers import queue_of

REPLAYABLE_STATES = (
    DeliveryState.DEAD,
    DeliveryState.DONE,
    DeliveryState.SKIPPED,
    DeliveryState.PENDING,
)


def replay(
    selection: Selection,
    *,
    limit: int | None = None,
    progress: Progress = silent,
) -> int:
    """Make the chosen deliveries due now, with fresh attempts. Return how many.

    The set is fixed when the call begins. Done in chunks that commit: stopped half-way, another
    call does the rest. `progress` hears the size of every chunk.
    """
    ids = list(selection.deliveries().values_list("pk", flat=True)[:limit])
    return _replay_ids(ids, selection.state, progress)


def replay_chosen(deliveries: QuerySet[Delivery]) -> int:
    """Replay hand-picked deliveries, whichever of the replayable states each is in."""
    # All states are read before any is changed: what becomes pending must not be met again.
    ids_by_state = {
        state: list(deliveries.filter(state=state).values_list("pk", flat=True))
        for state in REPLAYABLE_STATES
    }
    return sum(_replay_ids(ids, state) for state, ids in ids_by_state.items())


def _replay_ids(ids: Sequence[int], state: DeliveryState, progress: Progress = silent) -> int:
    replayed = 0
    for chunk in chunks(ids):
        replayed += in_short_transaction(partial(put_back, chunk, state))
        progress(len(chunk))
    return replayed


def put_back(ids: Sequence[int], state: DeliveryState) -> int:
    """Make those deliveries due that are in this state, in the running transaction."""
    # The state is asked again: what a worker or another operator took meanwhile is let be.
    chosen = Delivery.objects.filter(pk__in=ids, state=state)
    queues = {queue_of(name, noted=q) for name, q in chosen.values_list("receiver", "queue")}
    count = chosen.update(
        state=DeliveryState.PENDING,
        due_at=Now(),
        attempts=0,
        run_alone=False,
        position=_position_after(state),
        finished_at=None,
        died_at=None,
        skipped_by="",
        skip_reason="",
    )
    transaction.on_commit(partial(doorbell.ring, *sorted(queues)), robust=True)
    return count


def _position_after(state: DeliveryState) -> F | None:
    """A finished delivery's successors have gone ahead: it runs again outside its lane's order."""
    finished = state in {DeliveryState.DONE, DeliveryState.SKIPPED}
    return None if finished else F("position")
