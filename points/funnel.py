"""What inviting people comes to: who registered, what was rewarded, and what was taken back."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from django.db.models import Count, Sum
from django.db.models.functions import TruncDate

from events.envelope import Event
from events.operations.projections import Projection, register_projection
from points.funnel_steps import FunnelStep, StepKind
from points.rewards import RewardDecision
from points.signals import points_earned, points_reversed, reward_skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteFunnel:
    """How many, of whom. `registered` are those whose reward was decided, held ones included."""

    registered: int = 0
    rewarded: int = 0
    refused: int = 0
    taken_back: int = 0
    points: int = 0  # of the rewards, without what was taken back


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteDay:
    """One day in UTC: who registered on it, and what was decided on it. Empty ones are left out."""

    day: date
    funnel: InviteFunnel


def funnel_of(inviter_id: UUID) -> InviteFunnel:
    """Return what one person's invitations came to, in two queries."""
    registered = RewardDecision.objects.filter(inviter=inviter_id).count()
    steps = FunnelStep.objects.filter(inviter=inviter_id).order_by().values_list("kind")
    rows = list(steps.annotate(Count("pk"), Sum("points")))
    return _funnel(registered, rows)


def days_of_invites(*, since: date, until: date) -> list[InviteDay]:
    """Return the days from `since`, before `until`, in order, in two queries."""
    registered = _registered_by_day(since, until)
    steps = FunnelStep.objects.filter(day__gte=since, day__lt=until).order_by("day")
    rows: dict[date, list[tuple[str, int, int]]] = defaultdict(list)
    for day, *row in steps.values_list("day", "kind").annotate(Count("pk"), Sum("points")):
        rows[day].append((row[0], row[1], row[2]))
    return [
        InviteDay(day=day, funnel=_funnel(registered.get(day, 0), rows[day]))
        for day in sorted({*registered, *rows})
    ]


def _registered_by_day(since: date, until: date) -> dict[date, int]:
    span = {"occurred_at__gte": _midnight(since), "occurred_at__lt": _midnight(until)}
    day = TruncDate("occurred_at", tzinfo=UTC)
    decisions = RewardDecision.objects.filter(**span).order_by().annotate(day=day)
    return dict(decisions.values_list("day").annotate(Count("pk")))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _funnel(registered: int, rows: Sequence[tuple[str, int, int]]) -> InviteFunnel:
    counts = {kind: count for kind, count, _ in rows}
    points = {kind: points for kind, _, points in rows}
    return InviteFunnel(
        registered=registered,
        points=points.get(StepKind.REWARDED, 0) - points.get(StepKind.TAKEN_BACK, 0),
        **counts,
    )


def _steps_of(events: Sequence[Event[Any]]) -> Iterator[FunnelStep]:
    for event in events:
        is_refusal = event.type == reward_skipped.type
        yield FunnelStep(
            event_id=event.id,
            inviter_id=event.data.inviter_id if is_refusal else event.data.user_id,
            day=event.occurred_at.astimezone(UTC).date(),
            kind=_KINDS[event.type],
            points=0 if is_refusal else event.data.amount,
        )


_KINDS = {
    points_earned.type: StepKind.REWARDED,
    reward_skipped.type: StepKind.REFUSED,
    points_reversed.type: StepKind.TAKEN_BACK,
}

invite_funnel = register_projection(
    Projection(
        name="points.funnel",
        signals=(points_earned, reward_skipped, points_reversed),
        model=FunnelStep,
        rows=_steps_of,
    )
)
