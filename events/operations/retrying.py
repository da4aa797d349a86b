"""Deliveries that failed and are to be tried again, by their cause.

One that is put back counts as well until its next attempt says otherwise. A look costs what there
are causes, as with the dead ones (failure_groups).
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, QuerySet

from events.models import Delivery, DeliveryState
from events.operations.bounded import count_up_to, distinct_up_to
from events.operations.causes import MOST_CAUSES, RETRYING, heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """Deliveries to one receiver that failed last in the same way, and wait for their next try."""

    receiver: str
    fingerprint: str
    count: int  # MOST + 1: more than that many
    affected: int  # different keys among those that were counted
    next_at: datetime  # when the first of them is tried
    sample_id: int  # that one
    error: str  # its last error, in a line


def retrying(receiver: str = "", limit: int = MOST_CAUSES) -> list[Retrying]:
    """Return what is to be tried again, of one receiver or all. Two statements."""
    found = _groups_of(heads(RETRYING, "due_at", receiver=receiver, limit=limit))
    return [group for group in found if receiver in ("", group.receiver)]


def retrying_of_cause(receiver: str, fingerprint: str) -> list[Retrying]:
    """Return what is to be tried again of one cause; nothing where nothing is."""
    first = retrying_of(receiver, fingerprint).values_list("pk", flat=True)[:1]
    return _groups_of(list(first))


def retrying_of(receiver: str | OuterRef, fingerprint: str | OuterRef) -> QuerySet[Delivery]:
    """Return the deliveries of a cause, those first that are tried first."""
    failed = Delivery.objects.filter(state=DeliveryState.PENDING).exclude(fingerprint="")
    return failed.filter(receiver=receiver, fingerprint=fingerprint).order_by("due_at")


def _groups_of(first: list[int]) -> list[Retrying]:
    same = retrying_of(OuterRef("receiver"), OuterRef("fingerprint"))
    rows = Delivery.objects.filter(pk__in=first, due_at__isnull=False).annotate(
        count=count_up_to(same),
        affected=distinct_up_to(same, "key"),
    )
    return [_group(row) for row in rows if row.__dict__["count"]]


def _group(row: Delivery) -> Retrying:
    assert row.due_at  # noqa: S101  # asked for above
    figures = row.__dict__  # the annotations
    return Retrying(
        receiver=row.receiver,
        fingerprint=row.fingerprint,
        count=figures["count"],
        affected=figures["affected"],
        next_at=row.due_at,
        sample_id=row.pk,
        error=row.last_error,
    )
