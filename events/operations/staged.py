"""Replay or skip a frozen set: one delivery first, then ten, then all, until something fails again.

Every step is one short transaction, taken by the sweep of whichever worker comes first. How far it
has come is in the rows, so a process may die anywhere. A delivery that others have moved on
meanwhile is let be.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from events.interventions import (
    Intervention,
    InterventionItem,
    InterventionKind,
    InterventionState,
    ItemState,
    Stage,
)
from events.models import Attempt, Delivery, DeliveryState
from events.operations.chunks import CHUNK_SIZE, in_short_transaction
from events.operations.record import Operator, name_of, put_on_record, with_reason
from events.operations.replay import put_back
from events.operations.signature import signed
from events.operations.skip import give_up

logger = logging.getLogger(__name__)

RISKED = {Stage.CANARY: 1, Stage.TEN: 10}  # deliveries
UNDERWAY_LIMIT = 1000  # put back and not judged: so far a failure may come too late

_TRIED = (ItemState.UNDERWAY, ItemState.DONE, ItemState.FAILED)


def advance_all(queues: Sequence[str] = ()) -> None:
    """Take one step of every open intervention, whosever queue it is in. The sweep does."""
    for pk in list(_open().order_by("pk").values_list("pk", flat=True)):
        try:
            advance(pk)
        except Exception:  # others go on
            logger.exception("Intervention %d could not go on; it is tried again.", pk)


def advance(pk: int) -> None:
    """Take one step, if there is any: judge what was put back, then put back what may be next."""
    found = _open().filter(pk=pk).first()
    if found is not None and _has_a_step(found):  # spares SQLite a write transaction a second
        in_short_transaction(partial(_advance, pk))


def go_on(pk: int, *, by: Operator | str, reason: str) -> bool:
    """Go on with a stopped intervention. Return whether it was stopped.

    What fails in the stage that it stopped at stops it no more; the next stage's first failure
    does. Raises Unsigned.
    """
    return _decide(pk, [InterventionState.STOPPED], _let_go_on, by, "Went on", reason)


def abandon(pk: int, *, by: Operator | str, reason: str) -> bool:
    """Touch nothing more of an open intervention. Return whether it was open. Raises Unsigned.

    What was put back is tried as ever.
    """
    open_ones = [InterventionState.RUNNING, InterventionState.STOPPED]
    return _decide(pk, open_ones, _give_up, by, "Gave up", reason)


def counts_of(intervention: Intervention) -> dict[str, int]:
    """Return how many of the set are in each state, none left out."""
    rows = intervention.items.values("state").annotate(count=Count("pk")).order_by()
    found = {row["state"]: row["count"] for row in rows}
    return {state.value: found.get(state, 0) for state in ItemState}


def failed_again(intervention: Intervention) -> QuerySet[InterventionItem]:
    """Return what failed again, with the deliveries."""
    items = intervention.items.filter(state=ItemState.FAILED)
    return items.select_related("delivery").order_by("pk")


def _open() -> QuerySet[Intervention]:
    return Intervention.objects.filter(ended_at__isnull=True)


def _decide(
    pk: int,
    states: Sequence[InterventionState],
    change: Callable[[Intervention], None],
    by: Operator | str,
    what: str,
    reason: str,
) -> bool:
    name, reason = signed(by=by if isinstance(by, str) else name_of(by), reason=reason)

    def decide() -> bool:
        found = Intervention.objects.select_for_update().filter(pk=pk, state__in=states).first()
        if found is None:
            return False
        found.decided_by, found.decision = name, reason
        change(found)
        found.save()
        if not isinstance(by, str):
            put_on_record(by, [found], with_reason(what, reason))
        return True

    return in_short_transaction(decide)


def _let_go_on(found: Intervention) -> None:
    found.state, found.error = InterventionState.RUNNING, ""
    found.tolerated = found.stage


def _give_up(found: Intervention) -> None:
    found.state, found.ended_at = InterventionState.GIVEN_UP, Now()


def _advance(pk: int) -> None:
    # Another worker's sweep may be at it: then its step is enough.
    found = _open().select_for_update(skip_locked=True).filter(pk=pk).first()
    if found is None:
        return
    _judge(found)
    if found.state == InterventionState.STOPPED:
        return
    failure = _first_failure(found)
    if failure is not None:
        found.state, found.error = InterventionState.STOPPED, failure.delivery.last_error
        found.save(update_fields=["state", "error"])
    else:
        _put_more_at_risk(found)


def _has_a_step(found: Intervention) -> bool:
    """Tell whether a step would change anything. One that stopped only hears of what it tried."""
    done, moved_on, failed = _verdicts()
    if _tried(found).filter(done | moved_on | failed).exists():
        return True
    if found.state == InterventionState.STOPPED:
        return False
    if not found.items.filter(state=ItemState.UNDERWAY).exists():
        return True
    return _room(found) > 0 and found.items.filter(state=ItemState.FROZEN).exists()


def _judge(found: Intervention) -> None:
    """Say of what was put back how it went. What failed may yet succeed: it is tried again."""
    done, moved_on, failed = _verdicts()
    _tried(found).filter(done).update(state=ItemState.DONE)
    _tried(found).filter(moved_on).update(state=ItemState.LET_BE)
    _tried(found).filter(failed).update(state=ItemState.FAILED)


def _tried(found: Intervention) -> QuerySet[InterventionItem]:
    return found.items.filter(state__in=[ItemState.UNDERWAY, ItemState.FAILED])


def _verdicts() -> tuple[Q, Q, Q]:
    """Return of which items it can be said that they are done, let be, and newly failed."""
    mine = Delivery.objects.filter(pk=OuterRef("delivery"))
    done = Q(Exists(mine.filter(state=DeliveryState.DONE)))
    moved_on = ~Exists(mine) | Q(Exists(mine.filter(state=DeliveryState.SKIPPED)))
    attempts = Attempt.objects.filter(delivery=OuterRef("delivery"))
    failed = Exists(attempts.filter(pk__gt=OuterRef("after_attempt"))) | Q(
        Exists(mine.filter(state=DeliveryState.DEAD))
    )
    return done, moved_on, failed & Q(state=ItemState.UNDERWAY)


def _first_failure(found: Intervention) -> InterventionItem | None:
    return failed_again(found).filter(stage__gt=found.tolerated).first()


def _put_more_at_risk(found: Intervention) -> None:
    """Put back what the stage allows; where all of it went well, come to the next stage."""
    room = _room(found)
    if not room and found.stage != Stage.ALL:
        if not found.items.filter(state=ItemState.UNDERWAY).exists():
            found.stage += 1
            found.save(update_fields=["stage"])
        return
    items = list(found.items.filter(state=ItemState.FROZEN).order_by("pk")[:room])
    if items:
        _intervene(found, items)
    elif room and not found.items.filter(state=ItemState.UNDERWAY).exists():
        found.state, found.ended_at = InterventionState.THROUGH, Now()
        found.save(update_fields=["state", "ended_at"])


def _room(found: Intervention) -> int:
    """Return how many may be put back now."""
    if found.stage == Stage.ALL:
        underway = found.items.filter(state=ItemState.UNDERWAY).count()
        return min(CHUNK_SIZE, UNDERWAY_LIMIT - underway)
    tried = found.items.filter(stage=found.stage, state__in=_TRIED).count()
    return RISKED[Stage(found.stage)] - tried


def _intervene(found: Intervention, items: list[InterventionItem]) -> None:
    """Replay or skip what is still dead of these; let the rest be."""
    ids = [item.delivery_id for item in items]
    if found.kind == InterventionKind.SKIP:
        touched = give_up(ids, [DeliveryState.DEAD], found.asked_by, found.reason)
        state, what = ItemState.DONE, "Skipped"
    else:
        touched = _put_back(ids)
        state, what = ItemState.UNDERWAY, "Replayed"
    mine = found.items.filter(delivery__in=ids)
    mine.filter(delivery__in=touched).update(
        state=state, stage=found.stage, after_attempt=_last_attempt()
    )
    mine.filter(state=ItemState.FROZEN).update(state=ItemState.LET_BE)
    if found.operator is not None and touched:
        said = with_reason(what, f"{found.reason} (intervention {found.pk})")
        put_on_record(found.operator, Delivery.objects.filter(pk__in=touched), said)


def _put_back(ids: list[int]) -> list[int]:
    dead = Delivery.objects.filter(pk__in=ids, state=DeliveryState.DEAD)
    locked = list(dead.select_for_update().order_by("pk").values_list("pk", flat=True))
    put_back(locked, DeliveryState.DEAD)
    return locked


def _last_attempt() -> int:
    """Return the highest number of an attempt so far: these deliveries have none beyond it."""
    highest: int | None = Attempt.objects.aggregate(highest=Max("pk"))["highest"]
    return highest or 0
