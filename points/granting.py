"""Crediting a reward that is granted, and saying what was decided."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from events.envelope import Event
from points.bookkeeping import new_entry
from points.ledger import Entry, EntryKind, PointsAccount
from points.rewards import RewardDecision
from points.signals import PointsEarned, RewardSkipped, points_earned, reward_skipped


def reward_key(rule_kind: str, invitee_id: UUID) -> str:
    """Return the idempotency key of the entry that rewards somebody for this person."""
    return f"reward:{rule_kind}:{invitee_id}"


def earning(decision: RewardDecision, account: PointsAccount) -> Entry:
    """Return the unsaved entry of a reward that is granted, and move the account's sums along."""
    return new_entry(
        account,
        EntryKind.EARN,
        decision.points,
        idempotency_key=reward_key(decision.rule_kind, decision.invitee_id),
        expires_at=_expiry(decision),
        reason=decision.rule_kind,
        event_id=decision.event_id,
        occurred_at=decision.decided_at,
    )


def _expiry(decision: RewardDecision) -> datetime | None:
    if decision.rule is None or decision.rule.expires_days is None:
        return None
    return decision.decided_at + timedelta(days=decision.rule.expires_days)


def publish_earned(entries: Sequence[Entry], *, causes: Sequence[Event[Any]] | None = None) -> None:
    """Publish an event for each entry. A batch receiver names the causes."""
    points_earned.publish_many(
        [
            PointsEarned(
                entry_id=entry.pk,
                user_id=entry.account_id,
                amount=entry.amount,
                reason=entry.reason,
            )
            for entry in entries
        ],
        causes=causes,
    )


def publish_skipped(
    skipped: Sequence[RewardDecision], *, causes: Sequence[Event[Any]] | None = None
) -> None:
    """Publish an event for each reward that is refused."""
    reward_skipped.publish_many(
        [
            RewardSkipped(
                rule_kind=decision.rule_kind,
                inviter_id=decision.inviter_id,
                invitee_id=decision.invitee_id,
                reason=decision.reason,
            )
            for decision in skipped
        ],
        causes=causes,
    )
