"""Begin an intervention in many deliveries: the set is frozen, `events.operations.staged` does it.

What is frozen is what the operator was shown. What dies later is of another intervention.
"""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from events.interventions import (
    Intervention,
    InterventionKind,
    InterventionState,
    ItemState,
    Stage,
)
from events.models import Delivery, DeliveryState
from events.operations.bounded import MOST
from events.operations.failure_groups import dead_of
from events.operations.known import is_receiver
from events.operations.record import Operator, name_of, put_on_record, with_reason
from events.operations.selection import Selection
from events.operations.signature import signed


class NothingToFreeze(Exception):
    """Nothing is dead of that any more: others have replayed or skipped it, or it was no group."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class NoSuchGroup(NothingToFreeze):
    """No release had such a receiver, or no error has such a fingerprint."""


class HasGrown(Exception):
    """There are more than were shown by the time that the operator saw them: look again."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class AlreadyUnderWay(Exception):
    """The same failures are being intervened in: one at a time."""

    def __init__(self, intervention: Intervention) -> None:
        super().__init__(f"Intervention {intervention.pk} is under way; go on with it, or give up.")
        self.intervention = intervention


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an operator saw of a group: the set that is to be frozen, and no other."""

    count: int
    at: datetime


def freeze_group(
    kind: InterventionKind,
    *,
    receiver: str,
    fingerprint: str,
    shown: Shown,
    by: Operator,
    reason: str,
) -> Intervention:
    """Freeze what is dead of a group, at most MOST of it, and let it begin.

    Raises NothingToFreeze (NoSuchGroup), HasGrown, AlreadyUnderWay and Unsigned.
    """
    then = dead_of(receiver, fingerprint).filter(
        Q(died_at__lte=shown.at) | Q(died_at__isnull=True)  # a former release told no time
    )
    name, reason = signed(by=name_of(by), reason=reason)
    begun = Intervention(
        kind=kind,
        receiver=receiver,
        fingerprint=fingerprint,
        size=0,
        asked_by=name,
        reason=reason,
    )
    if isinstance(by, AbstractBaseUser):
        begun.operator_id = by.pk
    with transaction.atomic():
        _freeze(begun, then[:MOST], at_most=shown.count)
        put_on_record(by, [begun], with_reason(f"Began ({begun.size})", reason))
    return begun


def freeze_selection(
    kind: InterventionKind, selection: Selection, *, by: str, reason: str, limit: int | None = None
) -> Intervention:
    """Freeze the chosen deliveries, which are dead ones of a receiver, at most MOST of them.

    Raises NothingToFreeze, AlreadyUnderWay and Unsigned.
    """
    if selection.receiver is None or selection.state != DeliveryState.DEAD:
        raise ValueError("An intervention is in dead deliveries of one receiver.")
    name, reason = signed(by=by, reason=reason)
    begun = Intervention(
        kind=kind,
        receiver=selection.receiver,
        fingerprint=selection.fingerprint or "",
        size=0,
        asked_by=name,
        reason=reason,
    )
    with transaction.atomic():
        _freeze(begun, selection.deliveries()[: min(limit or MOST, MOST)])
    return begun


def left_of(selection: Selection, begun: Intervention) -> int:
    """Return how many are chosen and not in the set: it has at most MOST."""
    if begun.size < MOST:
        return 0
    frozen = begun.items.filter(delivery=OuterRef("pk"))
    return selection.deliveries().filter(~Exists(frozen)).count()


def _freeze(begun: Intervention, rows: QuerySet[Delivery], at_most: int | None = None) -> None:
    if begun.kind == InterventionKind.SKIP:  # nothing can fail: nothing is tried out
        begun.stage = Stage.ALL
    _save_unless_underway(begun)
    begun.size = _copy_ids(begun, rows)
    if not begun.size:
        raise NothingToFreeze
    if at_most is not None and begun.size > at_most:
        raise HasGrown
    begun.save(update_fields=["size"])


def _copy_ids(begun: Intervention, rows: QuerySet[Delivery]) -> int:
    """Insert an item for each row, in the database itself: SQLite has one writer for everybody."""
    chosen, parameters = rows.values("id").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_interventionitem (intervention_id, delivery_id, state) "  # noqa: S608
            f"SELECT %s, chosen.id, %s FROM ({chosen}) chosen",
            [begun.pk, ItemState.FROZEN.value, *parameters],
        )
        return int(cursor.rowcount)


def _save_unless_underway(begun: Intervention) -> None:
    """Insert: of two that are asked for at once, the constraint lets one begin."""
    if not (_is_fingerprint(begun.fingerprint) and is_receiver(begun.receiver)):
        raise NoSuchGroup
    open_ones = Intervention.objects.filter(
        receiver=begun.receiver, fingerprint=begun.fingerprint, ended_at__isnull=True
    )
    try:
        with transaction.atomic():
            begun.save(force_insert=True)
    except IntegrityError:
        other = open_ones.first()
        if other is None:
            raise
        raise AlreadyUnderWay(other) from None


def _is_fingerprint(text: str) -> bool:
    """Tell whether a text may be one: PostgreSQL refuses what does not fit, and NUL."""
    longest = Intervention._meta.get_field("fingerprint").max_length or 0
    return len(text) <= longest and "\0" not in text


def is_open(intervention: Intervention) -> bool:
    """Tell whether something is still to come of an intervention."""
    return intervention.state in (InterventionState.RUNNING, InterventionState.STOPPED)
