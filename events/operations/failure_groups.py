"""Dead deliveries by their cause: one group for each receiver and fingerprint.

A look costs what there are groups, each read by index and counted up to a bound: not what is dead,
and not what history is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import OuterRef, QuerySet, Subquery

from events.models import Delivery, DeliveryState
from events.operations.bounded import MOST, count_up_to, distinct_up_to

MOST_GROUPS = 100

# From one group to the next along the index: its rows are not gone through.
_HEADS = """
WITH RECURSIVE head (id) AS (
    SELECT (
        SELECT id FROM events_delivery WHERE state = 'dead' AND receiver >= %s
        ORDER BY receiver, fingerprint LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT later.id FROM events_delivery later
        WHERE later.state = 'dead'
            AND (later.receiver, later.fingerprint) > (known.receiver, known.fingerprint)
        ORDER BY later.receiver, later.fingerprint LIMIT 1
    )
    FROM head JOIN events_delivery known ON known.id = head.id
)
SELECT id FROM head WHERE id IS NOT NULL LIMIT %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Deliveries to one receiver that died of the same: class of error, and place in our code."""

    receiver: str
    fingerprint: str
    count: int  # MOST + 1: more than that many
    affected: int  # different keys, as a rule people, among those that were counted
    first_at: datetime | None  # when the first of them died, as far as it is known
    last_at: datetime | None
    sample_id: int  # the delivery that died last
    error: str  # its last error, in a line

    @property
    def is_cut(self) -> bool:
        """Tell whether there are more than were counted."""
        return self.count > MOST


def failure_groups(receiver: str = "", limit: int = MOST_GROUPS) -> list[FailureGroup]:
    """Return the groups, of one receiver or all, in order of receiver. Three statements."""
    with connection.cursor() as cursor:
        cursor.execute(_HEADS, [receiver, limit])
        heads = [pk for (pk,) in cursor.fetchall()]
    found = _groups_of(Delivery.objects.filter(pk__in=heads))
    return [group for group in found if receiver in ("", group.receiver)]


def failure_group(receiver: str, fingerprint: str) -> FailureGroup | None:
    """Return one group; None where nothing is dead of it."""
    heads = dead_of(receiver, fingerprint).values_list("pk", flat=True)[:1]
    return next(iter(_groups_of(Delivery.objects.filter(pk__in=list(heads)))), None)


def dead_of(receiver: str, fingerprint: str) -> QuerySet[Delivery]:
    """Return the deliveries of a group, those first that died first."""
    return Delivery.objects.filter(
        state=DeliveryState.DEAD, receiver=receiver, fingerprint=fingerprint
    ).order_by("died_at")


def _groups_of(heads: QuerySet[Delivery]) -> list[FailureGroup]:
    """Return the groups that some deliveries, one of each, belong to."""
    same = Delivery.objects.filter(
        state=DeliveryState.DEAD,
        receiver=OuterRef("receiver"),
        fingerprint=OuterRef("fingerprint"),
    )
    timed = same.filter(died_at__isnull=False)  # a former release told no time
    rows = heads.order_by("receiver", "fingerprint").annotate(
        count=count_up_to(same.order_by("died_at")),
        affected=distinct_up_to(same.order_by("died_at"), "key"),
        first_at=Subquery(timed.order_by("died_at").values("died_at")[:1]),
        last_id=Subquery(timed.order_by("-died_at").values("pk")[:1]),
    )
    groups = list(rows)
    samples = _by_id(group.last_id or group.pk for group in groups)
    return [_group(row, samples.get(row.last_id or row.pk, row)) for row in groups]


def _by_id(ids: Iterable[int]) -> dict[int, Delivery]:
    return Delivery.objects.in_bulk(list(ids))


def _group(row: Delivery, sample: Delivery) -> FailureGroup:
    figures = row.__dict__  # the annotations
    return FailureGroup(
        receiver=row.receiver,
        fingerprint=row.fingerprint,
        count=figures["count"],
        affected=figures["affected"],
        first_at=figures["first_at"],
        last_at=sample.died_at,
        sample_id=sample.pk,
        error=sample.last_error,
    )
