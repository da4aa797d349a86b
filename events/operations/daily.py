"""A look at the latest events once a day, in slices that each end in time.

Every receiver is gone over event by event. How far a slice came is kept with the receiver's state,
and the next one goes on there. No statement looks at more than the days that are gone over.
"""

import logging
import time
from collections import Counter as Tally
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F, Q

from events.delivery.clock import database_now
from events.models import Event, ReceiverState
from events.operations.reconcile import GRACE, Finding, Scope, differing, standing
from events.receivers import Receiver, all_receivers

EVERY_MINUTES = 5
BUDGET_S = 5.0  # a small site has one worker for this and for what people wait for
REACH = timedelta(days=2)  # every event is met by two looks: the first may find it on its way
WINDOW_SIZE = 500  # events of a receiver: an audit is asked about all of them at once
PAUSE = timedelta(days=1)  # from the begin of one look at a receiver to that of the next

logger = logging.getLogger(__name__)


def reconcile_daily() -> int:
    """Look at the latest events, log what is found as an error, and repair nothing.

    Return how many there are. Ends after about BUDGET_S; the next call goes on from there, and does
    nothing where all was looked at within a day. Sums over everything are left to `reconcile`.
    """
    deadline = time.monotonic() + BUDGET_S
    counts: Tally[str] = Tally()
    try:
        for receiver, state in _due():
            for finding in _go_on(receiver, state, deadline):
                counts[f"{finding.kind} ({finding.audit})"] += finding.total
            if time.monotonic() >= deadline:
                break
    finally:
        if counts:
            logger.error(
                "Events and their effects differ: %s. `manage.py reconcile` lists them; with "
                "--repair it delivers again what is missing.",
                ", ".join(f"{count} {what}" for what, count in sorted(counts.items())),
            )
    return counts.total()


def _due() -> Iterator[tuple[Receiver, ReceiverState]]:
    """Yield the receivers whose look is not through, or began a day ago: that one first."""
    receivers = {receiver.name: receiver for receiver in all_receivers()}
    unfinished = Q(reconciled_to__isnull=False)
    long_ago = Q(reconcile_began_at=None) | Q(reconcile_began_at__lte=database_now() - PAUSE)
    states = ReceiverState.objects.filter(unfinished | long_ago, name__in=receivers)
    for state in states.order_by(F("reconcile_began_at").asc(nulls_first=True), "name"):
        yield receivers[state.name], state


def _go_on(receiver: Receiver, state: ReceiverState, deadline: float) -> Iterator[Finding]:
    """Yield what is found of a receiver until the look is through, or the time is up.

    A look that fails is told, and the others are taken.
    """
    try:
        if state.reconciled_to is None:
            since = database_now() - REACH
            if not _keep(state, _last_before(since), began_at=database_now()):
                return
            yield from standing(receiver, Scope(since=since))
        while state.reconciled_to is not None:
            yield from _look_at_window(receiver, state)
            if time.monotonic() >= deadline:
                break
    except Exception:
        logger.exception("The look at %s failed; it is tried again next time.", receiver.name)
    if state.reconciled_to is not None:
        logger.info(
            "The look at %s has come to position %d, and goes on from there in %d minutes.",
            receiver.name,
            state.reconciled_to,
            EVERY_MINUTES,
        )


def _look_at_window(receiver: Receiver, state: ReceiverState) -> Iterator[Finding]:
    after = state.reconciled_to or 0
    events = Event.objects.filter(
        type__in=[signal.type for signal in receiver.signals],
        position__gt=after,
        occurred_at__lt=database_now() - GRACE,
    )
    window = list(events.order_by("position").values_list("position", flat=True)[:WINDOW_SIZE])
    if window:
        yield from differing(receiver, Scope(after=after, until=window[-1]))
    _keep(state, window[-1] if len(window) == WINDOW_SIZE else None)


def _keep(state: ReceiverState, reached: int | None, began_at: datetime | None = None) -> bool:
    """Keep how far a look came (None: it is through), unless another worker was faster."""
    before = ReceiverState.objects.filter(
        pk=state.pk,
        reconciled_to=state.reconciled_to,
        reconcile_began_at=state.reconcile_began_at,
    )
    state.reconciled_to = reached
    state.reconcile_began_at = began_at or state.reconcile_began_at
    moved = before.update(reconciled_to=reached, reconcile_began_at=state.reconcile_began_at)
    if not moved:
        state.reconciled_to = None  # here it ends
    return bool(moved)


def _last_before(moment: datetime) -> int:
    """Return a position that all events from before a moment are at, or nearly.

    Ids begin with the time, and have an index.
    """
    earlier = Event.objects.filter(event_id__lt=_first_id_of(moment)).order_by("-event_id")
    return earlier.values_list("position", flat=True).first() or 0


def _first_id_of(moment: datetime) -> UUID:
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80)  # UUIDv7: 48 bits of time, then 80 others
