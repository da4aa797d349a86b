"""What points keeps of a person, to be given to them. Those they invited are not named."""

from typing import Any
from uuid import UUID

from accounts.queries import exporter
from points.ledger import Entry
from points.queries import summary_of
from points.rewards import RewardDecision


@exporter("points")
def export(user_id: UUID) -> dict[str, Any]:
    """Return the balance, the entries, and what was decided about rewards; the oldest first."""
    points = summary_of(user_id)
    entries = Entry.objects.filter(account=user_id).order_by("number")
    decisions = RewardDecision.objects.filter(inviter=user_id).order_by("pk")
    return {
        "balance": points.balance,
        "pending": points.pending,
        "lifetime_earned": points.lifetime_earned,
        "frozen": points.frozen,
        "entries": list(entries.values(*_ENTRY)),
        "rewards": list(decisions.values(*_DECISION)),
    }


_ENTRY = ("number", "kind", "amount", "balance_after", "reason", "expires_at", "occurred_at")
_DECISION = ("outcome", "reason", "points", "occurred_at", "release_at", "decided_at")
