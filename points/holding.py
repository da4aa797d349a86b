"""Rewards that wait: granted or refused when what they wait for is known, taken back when void.

Everything here reads how things are now, under the lock of the inviter's points account. Which
event was the reason to look, and in which order they came, makes no difference.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.queries import accounts_by_id, referrals_by_invitee
from events.operations.chunks import Progress, in_short_transaction, silent
from points.bookkeeping import lock_account, lock_accounts, write
from points.corrections import reverse_of
from points.eligibility import Standing, judge_pending, standing_of
from points.granting import earning, publish_earned, publish_skipped, reward_key
from points.ledger import Entry, PointsAccount
from points.rewards import RewardDecision, RewardOutcome, RewardReason, RuleKind

DECISIONS_AT_ONCE = 100  # in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What a look at the rewards that wait came to."""

    granted: int = 0
    refused: int = 0  # skipped or voided
    waiting: int = 0  # looked at, and left to wait


def release_due(
    *, now: datetime, limit: int = sys.maxsize, progress: Progress = silent
) -> Released:
    """Decide the rewards whose waiting time is over by `now`, `limit` at most; see `settle`.

    In short transactions, the earliest first. Those that still wait for a review are looked at
    too, so that a reward whose event got lost is not lost itself. They do not count against the
    limit, as the next run finds them again: many of them must not keep others from being decided.
    """
    outcomes: Counter[str] = Counter()
    after = UUID(int=0)
    while (left := limit - outcomes.total() + outcomes[RewardOutcome.PENDING]) > 0:
        due = due_rewards(now).filter(pk__gt=after).order_by("pk")
        chosen = list(due.values_list("pk", "inviter_id")[: min(DECISIONS_AT_ONCE, left)])
        if not chosen:
            break
        outcomes.update(in_short_transaction(partial(_settle_chosen, chosen, now)))
        after = chosen[-1][0]
        progress(len(chosen))
    return _released(outcomes)


def due_rewards(now: datetime) -> QuerySet[RewardDecision]:
    """Return the rewards that wait, but for those whose waiting time is not over."""
    due = Q(release_at__isnull=True) | Q(release_at__lte=now)
    return RewardDecision.objects.filter(due, outcome=RewardOutcome.PENDING)


def follow_referral(*, invitee_id: UUID, inviter_id: UUID, event_id: UUID) -> None:
    """Let the reward for an invited person be what their referral says now.

    Approved: a reward that waited for it is granted, or left to its waiting time. Void: one that
    waits is voided, one that was granted is reversed, once. Where nothing is decided so far, the
    registration was not delivered yet: whoever decides it reads the same.
    Call it inside transaction.atomic().
    """
    account = lock_account(inviter_id)
    decisions = RewardDecision.objects.filter(invitee=invitee_id, rule_kind=RuleKind.REFERRAL)
    decision = decisions.select_related("rule").first()
    if decision is None:
        return
    if decision.outcome == RewardOutcome.PENDING:
        settle([decision], {account.pk: account}, timezone.now())
        return
    referral = referrals_by_invitee([invitee_id]).get(invitee_id)
    if referral is not None and referral.status == "voided":
        _void(decision, account, event_id)


def follow_account(*, user_id: UUID) -> None:
    """Let a points account be what its owner's account is now, and look at what waits for it.

    Under review: frozen, so that points come in but can't be spent. Closed: closed for good; the
    history is kept, and what others were rewarded for this person stays, unless the referral is
    declared void. The reward for inviting them waits while they are under review, too.
    Call it inside transaction.atomic().
    """
    referral = referrals_by_invitee([user_id]).get(user_id)
    accounts = lock_accounts({user_id} | ({referral.inviter_id} if referral else set()))
    account = accounts[user_id]
    owner = accounts_by_id([user_id])[user_id]
    now = timezone.now()
    account.frozen_at = (account.frozen_at or now) if owner.status == "flagged" else None
    account.closed_at = owner.closed_at
    account.save(update_fields=["frozen_at", "closed_at"])
    waiting = RewardDecision.objects.filter(
        Q(inviter=user_id) | Q(invitee=user_id), inviter__in=accounts, outcome=RewardOutcome.PENDING
    )
    chosen = list(waiting.select_related("rule").order_by("pk")[:DECISIONS_AT_ONCE])
    settle(chosen, accounts, now)  # what is beyond, the next `release_due` finds


def settle(
    decisions: Sequence[RewardDecision], accounts: Mapping[UUID, PointsAccount], now: datetime
) -> None:
    """Decide pending rewards again, as things are now; the inviters' accounts are locked.

    The rule, its points and the place in the caps are those of the registration.
    """
    standing = standing_of({each.invitee_id: each.inviter_id for each in decisions}, now)
    changed = [decision for decision in decisions if _judge(decision, standing)]
    if not changed:
        return
    RewardDecision.objects.bulk_update(changed, ["outcome", "reason", "decided_at"])
    final = [decision for decision in changed if decision.outcome != RewardOutcome.PENDING]
    for decision in final:
        accounts[decision.inviter_id].pending -= decision.points
    granted = [d for d in final if d.outcome == RewardOutcome.GRANTED]
    touched = {decision.inviter_id for decision in final}
    entries = [earning(decision, accounts[decision.inviter_id]) for decision in granted]
    write(entries, [accounts[user_id] for user_id in sorted(touched)])
    publish_earned(entries)
    publish_skipped([d for d in final if d.outcome == RewardOutcome.SKIPPED])


def _judge(decision: RewardDecision, standing: Standing) -> bool:
    """Set what becomes of a pending reward; tell whether that is something new."""
    before = (decision.outcome, decision.reason)
    verdict = judge_pending(decision, standing)
    decision.outcome, decision.reason = verdict.outcome, verdict.reason
    if (decision.outcome, decision.reason) == before:
        return False
    decision.decided_at = standing.now
    return True


def _settle_chosen(chosen: Sequence[tuple[UUID, UUID]], now: datetime) -> list[str]:
    accounts = lock_accounts({inviter_id for _, inviter_id in chosen})
    # Read again under the locks: they may have been decided meanwhile.
    pending = RewardDecision.objects.filter(
        pk__in=[decision_id for decision_id, _ in chosen], outcome=RewardOutcome.PENDING
    )
    decisions = list(pending.select_related("rule").order_by("pk"))
    settle(decisions, accounts, now)
    return [decision.outcome for decision in decisions]


def _released(outcomes: Counter[str]) -> Released:
    granted, waiting = outcomes[RewardOutcome.GRANTED], outcomes[RewardOutcome.PENDING]
    return Released(granted=granted, waiting=waiting, refused=outcomes.total() - granted - waiting)


def _void(decision: RewardDecision, account: PointsAccount, event_id: UUID) -> None:
    """Take back what was decided: a reward that was granted is reversed, a refusal is for good."""
    changed = RewardDecision.objects.filter(pk=decision.pk, outcome=decision.outcome).update(
        outcome=RewardOutcome.VOIDED,
        reason=RewardReason.REFERRAL_VOIDED,
        decided_at=timezone.now(),
    )
    if changed and decision.outcome == RewardOutcome.GRANTED:
        key = reward_key(decision.rule_kind, decision.invitee_id)
        earned = Entry.objects.get(idempotency_key=key)
        if not Entry.objects.filter(reverses=earned).exists():  # staff may have reversed it
            reason = RewardReason.REFERRAL_VOIDED
            reverse_of(account, earned, reason, event_id=event_id)
