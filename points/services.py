"""Deciding whether inviters are rewarded, and crediting the points."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from accounts.signals import UserRegistered
from events.envelope import Event
from events.rows import among, insert
from points.bookkeeping import lock_accounts, write
from points.eligibility import Circumstances, Invitation, circumstances_of
from points.granting import earning, publish_earned, publish_skipped
from points.ledger import PointsAccount
from points.rewards import RewardDecision, RewardOutcome, RuleKind

Registration: TypeAlias = Event[UserRegistered]


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision and the event that led to it."""

    decision: RewardDecision
    cause: Registration


def reward_inviters(events: Sequence[Registration]) -> None:
    """Decide for every invited account whether its inviter is rewarded, once, and credit points.

    Rules and caps are those of the moment of registration, however late this runs. Where a cap does
    not suffice, the earliest invitations among `events` count: one that is delivered later finds
    the place taken, though it may have been earlier, as what was decided is final. What was
    decided before about an invited account stays, whichever event led to it. Accounts that nobody
    invited need no decision.

    Call it inside transaction.atomic(). The number of queries does not grow with that of events.
    """
    invited = _first_per_invitee(events)
    if not invited:
        return
    accounts = lock_accounts({_inviter_of(event) for event in invited})
    # Read after the locks: whoever holds back or reverses a reward takes them too, so that either
    # this sees what they decided or they see the reward.
    undecided = _undecided(invited)
    if not undecided:
        return
    circumstances = circumstances_of([_invitation(event) for event in undecided])
    decided = [Decided(_decide(event, circumstances), event) for event in undecided]
    _record(decided, accounts)


def _first_per_invitee(events: Sequence[Registration]) -> list[Registration]:
    first: dict[UUID, Registration] = {}
    for event in sorted(events, key=lambda event: event.position):
        if event.data.inviter_id is not None:
            first.setdefault(event.data.user_id, event)
    return list(first.values())


def _inviter_of(event: Registration) -> UUID:
    if event.data.inviter_id is None:
        raise ValueError(f"Nobody invited the account of event {event.id}.")
    return event.data.inviter_id


def _undecided(invited: Sequence[Registration]) -> list[Registration]:
    known = set(decisions_about(event.data.user_id for event in invited))
    return [event for event in invited if event.data.user_id not in known]


def decisions_about(invitee_ids: Iterable[UUID]) -> dict[UUID, RewardDecision]:
    """Return what was decided about the inviters of some people, by invited person."""
    decisions = RewardDecision.objects.filter(
        among("invitee", invitee_ids), rule_kind=RuleKind.REFERRAL
    )
    return {decision.invitee_id: decision for decision in decisions}


def _invitation(event: Registration) -> Invitation:
    return Invitation(
        inviter_id=_inviter_of(event),
        invitee_id=event.data.user_id,
        registered_at=event.occurred_at,
    )


def _decide(event: Registration, circumstances: Circumstances) -> RewardDecision:
    """Return the decision, unsaved, and count it against the caps of those that follow."""
    inviter_id, at = _inviter_of(event), event.occurred_at
    verdict = circumstances.judge(_invitation(event))
    if verdict.outcome in {RewardOutcome.GRANTED, RewardOutcome.PENDING}:
        circumstances.tally.add(inviter_id, at)
    return RewardDecision(
        rule_kind=RuleKind.REFERRAL,
        invitee_id=event.data.user_id,
        inviter_id=inviter_id,
        outcome=verdict.outcome,
        reason=verdict.reason,
        rule=verdict.rule,
        points=verdict.rule.points if verdict.rule else 0,
        event_id=event.id,
        occurred_at=at,
        release_at=verdict.release_at,
        decided_at=circumstances.standing.now,
    )


def _record(decided: Sequence[Decided], accounts: Mapping[UUID, PointsAccount]) -> None:
    """Save the decisions, credit what is granted, and publish what came of them."""
    by_outcome: dict[str, list[Decided]] = {outcome: [] for outcome in RewardOutcome.values}
    for pair in decided:
        by_outcome[pair.decision.outcome].append(pair)
    granted, pending = by_outcome[RewardOutcome.GRANTED], by_outcome[RewardOutcome.PENDING]
    for pair in pending:
        accounts[pair.decision.inviter_id].pending += pair.decision.points
    insert([pair.decision for pair in decided])
    changed = {pair.decision.inviter_id for pair in granted + pending}
    entries = [earning(pair.decision, accounts[pair.decision.inviter_id]) for pair in granted]
    write(entries, [accounts[user_id] for user_id in sorted(changed)])
    publish_earned(entries, causes=[pair.cause for pair in granted])
    skipped = by_outcome[RewardOutcome.SKIPPED]
    publish_skipped([pair.decision for pair in skipped], causes=[pair.cause for pair in skipped])
