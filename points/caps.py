"""How many rewards an inviter has had, against what a rule allows."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count

from points.rewards import RewardDecision, RewardOutcome, RewardReason, RewardRule

_COUNTED = [RewardOutcome.GRANTED, RewardOutcome.PENDING]


class Tally:
    """The rewards of some inviters, kept up while a batch is decided.

    Read under the locks of their points accounts: nobody else can add one meanwhile.
    """

    def __init__(
        self, rules: Sequence[RewardRule], inviter_ids: Collection[UUID], since: datetime
    ) -> None:
        """Count what these inviters have; `since` is the earliest moment to be decided."""
        self._totals: dict[UUID, int] = defaultdict(int)
        self._moments: dict[UUID, list[datetime]] = defaultdict(list)
        kinds = {rule.kind for rule in rules}
        counted = RewardDecision.objects.filter(
            inviter__in=inviter_ids, rule_kind__in=kinds, outcome__in=_COUNTED
        )
        if any(rule.cap_total for rule in rules):
            totals = counted.values_list("inviter_id").annotate(Count("pk")).order_by()
            self._totals.update(totals)
        if days := max((rule.period_days or 0 for rule in rules), default=0):
            recent = counted.filter(occurred_at__gt=since - timedelta(days=days))
            for inviter_id, occurred_at in recent.values_list("inviter_id", "occurred_at"):
                self._moments[inviter_id].append(occurred_at)

    def refusal(self, rule: RewardRule, inviter_id: UUID, at: datetime) -> RewardReason | None:
        """Return the cap that a further reward would exceed, or None."""
        if rule.cap_total is not None and self._totals[inviter_id] >= rule.cap_total:
            return RewardReason.CAP_TOTAL
        if rule.cap_per_period is None or rule.period_days is None:
            return None
        start = at - timedelta(days=rule.period_days)
        in_period = sum(moment > start for moment in self._moments[inviter_id])
        return RewardReason.CAP_PERIOD if in_period >= rule.cap_per_period else None

    def add(self, inviter_id: UUID, at: datetime) -> None:
        """Count one more reward."""
        self._totals[inviter_id] += 1
        self._moments[inviter_id].append(at)
