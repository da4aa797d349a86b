"""Run receivers on chosen deliveries and roll everything back: what would change?

Each delivery runs by itself, on the state that is committed now: what an earlier one of the same
preview would have changed, a later one does not see.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from uuid import UUID

from django.core.mail import EmailMessage
from django.db import connection, transaction

from events.delivery.claimable import known_types
from events.delivery.conflict import repeated
from events.delivery.effects import apply_new
from events.delivery.failure import describe, mask_addresses
from events.delivery.turns import turn
from events.models import Delivery
from events.operations.chunks import chunks
from events.operations.offline import offline
from events.operations.selection import Selection
from events.operations.written import RowChange, WrittenRows, changes
from events.receivers import Guarantee, Receiver, get_receiver
from events.retry import RetryLater


class Outcome(StrEnum):
    """What a replay of one delivery would come to."""

    CHANGES = "would change"
    NOTHING = "would change nothing"
    APPLIED = "applied already"  # the inbox knows the event: a replay only settles the delivery
    CALLS_OUT = "would call out"  # not exactly-once: its effects are elsewhere, so it was not run
    LATER = "would ask to be tried later"
    FAILS = "would fail"
    WAITS = "would wait"  # this release does not know the receiver, the type or the version


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One delivery's outcome."""

    delivery: int
    receiver: str
    event: UUID
    type: str
    outcome: Outcome
    detail: str = ""  # why, where the outcome needs a reason
    rows: list[RowChange] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)  # subject and masked addresses
    not_followed: list[str] = field(default_factory=list)  # statements whose rows are not shown


def preview(selection: Selection, *, limit: int | None = None) -> Iterator[Preview]:
    """Yield what the replay of each chosen delivery would come to. Nothing is written.

    For commands only: while a receiver runs, the whole process is cut off from mail and network.
    """
    ids = list(selection.deliveries().values_list("pk", flat=True)[:limit])
    for chunk in chunks(ids):
        deliveries = Delivery.objects.filter(pk__in=chunk)
        readable = set(deliveries.filter(known_types()).values_list("pk", flat=True))
        for delivery in deliveries.select_related("event").order_by("pk"):
            yield _preview(delivery, delivery.pk in readable)


def _preview(delivery: Delivery, is_readable: bool) -> Preview:
    if not is_readable:
        unknown = f"{delivery.type} v{delivery.version}"
        return _result(delivery, Outcome.WAITS, f"this release does not know {unknown}")
    try:
        receiver = get_receiver(delivery.receiver)
    except KeyError:
        return _result(delivery, Outcome.WAITS, "this release does not know the receiver")
    if receiver.guarantee is not Guarantee.EXACTLY_ONCE:
        return _result(delivery, Outcome.CALLS_OUT, f"it is {receiver.guarantee}, and was not run")
    try:
        return repeated(partial(_run_and_roll_back, receiver, delivery))
    except RetryLater as error:
        return _result(delivery, Outcome.LATER, f"in {error.seconds:g} s")
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C, not an end of the receiver's
            raise error.__cause__ from None
        return _result(delivery, Outcome.FAILS, describe(error).summary)


def _run_and_roll_back(receiver: Receiver, delivery: Delivery) -> Preview:
    written = WrittenRows()
    with offline(receiver.name) as caught, turn(), transaction.atomic():
        with connection.execute_wrapper(written):
            new = apply_new(receiver, [delivery])
        connection.check_constraints(written.tables())  # what a commit would find out
        after = written.images()
        mails = [_described(mail) for mail in caught]
        transaction.set_rollback(True)
    rows = changes(written.images(), after)
    if not new:
        return _result(delivery, Outcome.APPLIED)
    changed = rows or mails or written.not_followed
    return replace(
        _result(delivery, Outcome.CHANGES if changed else Outcome.NOTHING),
        rows=rows,
        mails=mails,
        not_followed=written.not_followed,
    )


def _described(mail: EmailMessage) -> str:
    return mask_addresses(f"“{mail.subject}” to {', '.join(mail.recipients())}")


def _result(delivery: Delivery, outcome: Outcome, detail: str = "") -> Preview:
    return Preview(
        delivery=delivery.pk,
        receiver=delivery.receiver,
        event=delivery.event_id,
        type=delivery.type,
        outcome=outcome,
        detail=detail,
    )
