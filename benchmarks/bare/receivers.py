"""Inbox row and coupon; inbox row, ledger entry and balance."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

from benchmarks.bare.models import BareCoupon, ProcessedEvent
from benchmarks.bare.signals import CouponOwed, PointsOwed, coupon_owed, points_owed
from events.envelope import Event
from events.receivers import background_receiver
from events.rows import rows_of

COUPONS = "INSERT INTO bare_barecoupon (id, user_id, code) {}"
ENTRIES = "INSERT INTO bare_bareentry (id, user_id, points) {}"
BALANCES = (
    "INSERT INTO bare_barebalance (user_id, points) {} "
    "ON CONFLICT (user_id) DO UPDATE SET points = bare_barebalance.points + excluded.points"
)


@background_receiver(coupon_owed, inbox=ProcessedEvent, batch=True)
def issue(events: Sequence[Event[CouponOwed]]) -> None:
    """Give everybody a coupon."""
    codes = [event.id.hex[:16] for event in events]
    _insert(COUPONS, _new_ids(events), _users(events), ("text", codes))


@background_receiver(points_owed, inbox=ProcessedEvent, batch=True, queue="ledger")
def credit(events: Sequence[Event[PointsOwed]]) -> None:
    """Give everybody their points, the balances in order of id."""
    points = [event.data.points for event in events]
    _insert(ENTRIES, _new_ids(events), _users(events), ("integer", points))
    sums: Counter[UUID] = Counter()
    for event in events:
        sums[event.data.user_id] += event.data.points
    owners = sorted(sums)
    _insert(BALANCES, _uuids(owners), ("integer", [sums[owner] for owner in owners]))


def _insert(statement: str, *columns: tuple[str, Sequence[Any]]) -> None:
    rows, parameters = rows_of(*columns)
    with connection.cursor() as cursor:
        cursor.execute(statement.format(rows), parameters)


def _users(events: Sequence[Event[CouponOwed]] | Sequence[Event[PointsOwed]]) -> Any:
    return _uuids([event.data.user_id for event in events])


def _new_ids(events: Sequence[Any]) -> tuple[str, list[Any]]:
    return _uuids([uuid7() for _ in events])


def _uuids(values: Sequence[UUID]) -> tuple[str, list[Any]]:
    field = BareCoupon._meta.get_field("id")
    return ("uuid", [field.get_db_prep_value(value, connection) for value in values])
