"""How many rewards an inviter has had, against what a rule allows."""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count

from accounts.queries import voided_invitees_of
from events.rows import among
from points.rewards import RewardDecision, RewardOutcome, RewardReason, RewardRule

_COUNTED = [RewardOutcome.GRANTED, RewardOutcome.PENDING]


class Tally:
    """The rewards of some inviters, kept up while a batch is decided.

    Read under the locks of their points accounts: nobody else can add one meanwhile. A reward
    whose referral is void does not count, also where its event is still on its way.
    """

    def __init__(
        self,
        rules: Sequence[RewardRule],
        inviter_ids: Collection[UUID],
        moments: Collection[datetime],
        *,
        but: Collection[UUID] = (),
    ) -> None:
        """Count what these inviters have, as far as it matters to what is decided of `moments`.

        What they have for the invitees of `but` is left out.
        """
        self._totals: dict[UUID, int] = defaultdict(int)
        self._moments: dict[UUID, list[datetime]] = defaultdict(list)  # in order
        days = max((rule.period_days or 0 for rule in rules), default=0)
        if not days and not any(rule.cap_total for rule in rules):
            return
        counted = RewardDecision.objects.filter(
            among("inviter", inviter_ids),
            rule_kind__in={rule.kind for rule in rules},
            outcome__in=_COUNTED,
        ).exclude(among("invitee", {*voided_invitees_of(inviter_ids), *but}))
        if any(rule.cap_total for rule in rules):
            totals = counted.values_list("inviter_id").annotate(Count("pk")).order_by()
            self._totals.update(totals)
        if days:
            reach = timedelta(days=days)
            near = counted.filter(
                occurred_at__gt=min(moments) - reach, occurred_at__lt=max(moments) + reach
            ).order_by("occurred_at")
            for inviter_id, occurred_at in near.values_list("inviter_id", "occurred_at"):
                self._moments[inviter_id].append(occurred_at)

    def refusal(self, rule: RewardRule, inviter_id: UUID, at: datetime) -> RewardReason | None:
        """Return the cap that a further reward would exceed, or None."""
        if rule.cap_total is not None and self._totals[inviter_id] >= rule.cap_total:
            return RewardReason.CAP_TOTAL
        if rule.cap_per_period is None or rule.period_days is None:
            return None
        fullest = _fullest(self._moments[inviter_id], at, timedelta(days=rule.period_days))
        return RewardReason.CAP_PERIOD if fullest >= rule.cap_per_period else None

    def add(self, inviter_id: UUID, at: datetime) -> None:
        """Count one more reward."""
        self._totals[inviter_id] += 1
        insort(self._moments[inviter_id], at)


def _fullest(moments: Sequence[datetime], at: datetime, period: timedelta) -> int:
    """Return how many moments are in the fullest stretch of a period that `at` is in.

    A registration may be delivered late, so that there are moments after it too. The end of a
    stretch is exclusive. The fullest begins with one of the moments, or with `at`.
    """
    starts = [at, *moments[bisect_right(moments, at - period) : bisect_left(moments, at)]]
    return max(
        bisect_left(moments, start + period) - bisect_left(moments, start) for start in starts
    )
