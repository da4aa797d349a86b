"""Run a receiver on claimed deliveries, with the guarantee it declared."""

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction

from events import context, tracing
from events.delivery import settle
from events.delivery.conflict import repeated
from events.delivery.progress import told
from events.delivery.timelimit import call_within
from events.envelope import Event
from events.models import AbstractProcessedEvent, Delivery
from events.receivers import Guarantee, Receiver
from events.rows import rows_of
from events.signals import get_signal

SQLITE_TIME_LIMIT_S = 2.0  # nobody else can write meanwhile


class ReceiverFailed(Exception):
    """A receiver ended in a way that is no Exception (a time limit, sys.exit)."""


def apply(receiver: Receiver, deliveries: Sequence[Delivery]) -> int:
    """Run a receiver on deliveries of one claim and settle them as done. Return how many.

    Deliveries whose lease was lost are left out. Raises what the receiver raises, with nothing
    changed where it is exactly-once.
    """
    if receiver.guarantee is Guarantee.EXACTLY_ONCE:
        return _apply_exactly_once(receiver, deliveries)
    return _apply_outside(receiver, deliveries)


def _apply_exactly_once(receiver: Receiver, deliveries: Sequence[Delivery]) -> int:
    """The effect block: lock, inbox, effect, verdict, in one transaction."""
    with transaction.atomic():
        held = _lock_ours(deliveries)
        if held:
            apply_new(receiver, held)
            settle.finish(held)
        return len(held)


def _lock_ours(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Lock those that are still held under the claim's token, and return them."""
    ours = settle.ours(deliveries).select_for_update().order_by("pk")
    locked = set(ours.values_list("pk", flat=True))
    return [delivery for delivery in deliveries if delivery.pk in locked]


def apply_new(receiver: Receiver, deliveries: Sequence[Delivery]) -> int:
    """Run an exactly-once receiver on what its inbox does not know yet, and note it there.

    Call it inside a transaction: the rows of the inbox commit with the effects. Return how many
    were new. Raises what the receiver raises.
    """
    assert receiver.inbox is not None  # refused by background_receiver
    known_now = _insert_into_inbox(receiver.inbox, deliveries)
    new = [d for d in deliveries if (d.event_id, d.target) in known_now]
    _run(receiver, new)
    return len(new)


def _apply_outside(receiver: Receiver, deliveries: Sequence[Delivery]) -> int:
    """Effects outside the database: no transaction is open while they happen."""
    held = list(settle.ours(deliveries).select_related("event"))
    if held:
        _run(receiver, held)
        repeated(lambda: _finish(held))  # the call is made: only its verdict may be repeated
    return len(held)


def _finish(deliveries: Sequence[Delivery]) -> None:
    with transaction.atomic():
        settle.finish(deliveries)


def _run(receiver: Receiver, deliveries: Sequence[Delivery]) -> None:
    in_order = sorted(deliveries, key=_position)
    events = [envelope_of(delivery) for delivery in in_order]
    if not events:
        return
    with (
        context.handling(tuple(events), tuple(in_order)),
        tracing.processing(receiver.name, events),
    ):
        _call(receiver, events)


def _call(receiver: Receiver, events: list[Event[Any]]) -> None:
    limit_s = time_limit_s(receiver)
    told().call_begins(limit_s)
    try:
        argument = events if receiver.batch else events[0]
        call_within(limit_s, receiver.function, argument)
    except Exception:
        raise
    except BaseException as error:  # sys.exit, ReceiverTimedOut, whatever: the worker lives on
        raise ReceiverFailed(f"{type(error).__name__}: {error}") from error
    finally:
        told().call_ended()


def time_limit_s(receiver: Receiver) -> float:
    """Return the seconds one call of a receiver may take on this database."""
    if connection.vendor == "sqlite" and receiver.guarantee is Guarantee.EXACTLY_ONCE:
        return min(receiver.time_limit_s, SQLITE_TIME_LIMIT_S)
    return receiver.time_limit_s


def envelope_of(delivery: Delivery) -> Event[Any]:
    """Return a delivery's event as receivers get it. Raises as `EventSignal.read` does."""
    return get_signal(delivery.type).read(delivery.event)


def _position(delivery: Delivery) -> int:
    return delivery.event.position


def _insert_into_inbox(
    inbox: type[AbstractProcessedEvent], deliveries: Sequence[Delivery]
) -> set[tuple[Any, str]]:
    """Insert the processed-event rows; return (event id, target) of those that were new.

    A concurrent insert of the same row is waited for, so two workers cannot both see "new".
    """
    table = connection.ops.quote_name(inbox._meta.db_table)
    event_id = inbox._meta.get_field("event_id")
    receivers = [delivery.receiver for delivery in deliveries]
    targets = [delivery.target for delivery in deliveries]
    ids = [event_id.get_db_prep_value(delivery.event_id, connection) for delivery in deliveries]
    rows, params = rows_of(("text", receivers), ("text", targets), ("uuid", ids))
    sql = (
        f"INSERT INTO {table} (receiver, target, event_id) {rows} "
        "ON CONFLICT (event_id, receiver, target) DO NOTHING RETURNING event_id, target"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return {(event_id.to_python(found), target) for found, target in cursor.fetchall()}
