"""What fails, by its cause: one group for each receiver and fingerprint.

A look costs what there are groups, each read by index and counted up to a bound: not what is dead,
and not what history is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, QuerySet, Subquery

from events.models import Delivery, DeliveryState
from events.operations.bounded import MOST, count_up_to, distinct_up_to
from events.operations.causes import DEAD, MOST_CAUSES, heads
from events.operations.retrying import Retrying, retrying, retrying_of, retrying_of_cause

Cause = tuple[str, str]  # a receiver, and the fingerprint of how it fails


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Deliveries to one receiver that fail of the same: class of error, and place in our code."""

    receiver: str
    fingerprint: str
    count: int  # that are dead; MOST + 1: more than that many
    retrying: int = 0  # that failed so, and are to be tried again; bounded alike
    affected: int  # different keys, as a rule people, at least: some of both may be the same
    first_at: datetime | None  # when the first of them died, as far as it is known
    last_at: datetime | None
    next_at: datetime | None = None  # when the next of them is tried
    sample_id: int  # the delivery that died last; where none is dead, the one tried next
    error: str  # its last error, in a line

    @property
    def is_cut(self) -> bool:
        """Tell whether more are dead than were counted."""
        return self.count > MOST


def failure_groups(receiver: str = "", limit: int = MOST_CAUSES) -> list[FailureGroup]:
    """Return the groups, of one receiver or all, in order of receiver. Five statements.

    Of more than `limit` those are left out first of which nothing is to be tried again.
    """
    first = heads(DEAD, "died_at", receiver=receiver, limit=limit)
    dead = _groups_of(Delivery.objects.filter(pk__in=first))
    ours = [group for group in dead if receiver in ("", group.receiver)]
    found = ours + _without(ours, retrying(receiver, limit))
    return sorted(sorted(found, key=lambda group: not group.retrying)[:limit], key=_cause)


def failure_group(receiver: str, fingerprint: str) -> FailureGroup | None:
    """Return one group; None where nothing is dead of it, and nothing is to be tried again."""
    first = dead_of(receiver, fingerprint).values_list("pk", flat=True)[:1]
    dead = _groups_of(Delivery.objects.filter(pk__in=list(first)))
    found = dead or _without(dead, retrying_of_cause(receiver, fingerprint))
    return next(iter(found), None)


def dead_of(receiver: str, fingerprint: str) -> QuerySet[Delivery]:
    """Return the deliveries of a group, those first that died first."""
    return Delivery.objects.filter(
        state=DeliveryState.DEAD, receiver=receiver, fingerprint=fingerprint
    ).order_by("died_at")


def _cause(group: FailureGroup | Retrying) -> Cause:
    return group.receiver, group.fingerprint


def _without(dead: list[FailureGroup], others: list[Retrying]) -> list[FailureGroup]:
    """Return groups of what is to be tried again, but for causes of which something is dead."""
    known = set(map(_cause, dead))
    return [_only_retrying(each) for each in others if _cause(each) not in known]


def _only_retrying(others: Retrying) -> FailureGroup:
    return FailureGroup(
        receiver=others.receiver,
        fingerprint=others.fingerprint,
        count=0,
        retrying=others.count,
        affected=others.affected,
        first_at=None,
        last_at=None,
        next_at=others.next_at,
        sample_id=others.sample_id,
        error=others.error,
    )


def _groups_of(heads: QuerySet[Delivery]) -> list[FailureGroup]:
    """Return the groups that some deliveries, one of each, belong to."""
    same = Delivery.objects.filter(
        state=DeliveryState.DEAD,
        receiver=OuterRef("receiver"),
        fingerprint=OuterRef("fingerprint"),
    )
    again = retrying_of(OuterRef("receiver"), OuterRef("fingerprint"))
    timed = same.filter(died_at__isnull=False)  # a former release told no time
    rows = heads.order_by("receiver", "fingerprint").annotate(
        count=count_up_to(same.order_by("died_at")),
        affected=distinct_up_to(same.order_by("died_at"), "key"),
        retrying=count_up_to(again),
        retried=distinct_up_to(again, "key"),
        next_at=Subquery(again.values("due_at")[:1]),
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
        retrying=figures["retrying"],
        affected=max(figures["affected"], figures["retried"]),
        first_at=figures["first_at"],
        next_at=figures["next_at"],
        last_at=sample.died_at,
        sample_id=sample.pk,
        error=sample.last_error,
    )
