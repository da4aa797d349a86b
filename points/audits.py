"""What points owes to events, and a look whether it is there."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q

from accounts.queries import AccountSummary, accounts_by_id, referrals_by_invitee
from accounts.signals import ReferralApproved, ReferralVoided, UserRegistered
from events.envelope import Event
from events.operations.audits import Flaw, FlawKind, audit, figures
from points.funnel import invite_funnel
from points.granting import reward_key
from points.invariants import check_ledger, check_lots
from points.ledger import Entry, EntryKind, PointsAccount
from points.queries import ACCOUNT_RECEIVER, REFERRAL_RECEIVER, REWARD_RECEIVER
from points.rewards import RewardDecision, RewardOutcome, RewardReason, RuleKind

audit("points.project_funnel")(invite_funnel.audit)
figures("points.ledger", check_ledger)
figures("points.lots", check_lots)


@audit(REWARD_RECEIVER)
def audit_rewards(events: Sequence[Event[UserRegistered]]) -> Iterator[Flaw]:
    """Each registration of an invited person was decided once, with points where one grants."""
    invited = [event for event in events if event.data.inviter_id is not None]
    if not invited:
        return
    decisions = RewardDecision.objects.filter(
        invitee__in=[event.data.user_id for event in invited], rule_kind=RuleKind.REFERRAL
    )
    outcomes: dict[UUID, list[str]] = {}
    for invitee_id, outcome in decisions.values_list("invitee_id", "outcome"):
        outcomes.setdefault(invitee_id, []).append(outcome)
    credited = _credited(invited)
    for event in invited:
        yield from _flaws(event, outcomes.get(event.data.user_id, []), credited[event.data.user_id])


def _credited(events: Sequence[Event[UserRegistered]]) -> Counter[UUID]:
    """Return how often a reward was credited for each invited person, reversed or not."""
    by_event = {event.id: event.data.user_id for event in events}
    by_key = {reward_key(RuleKind.REFERRAL, user_id): user_id for user_id in by_event.values()}
    # A second one would have another key: the event that it names gives it away.
    theirs = Q(account__in={event.data.inviter_id for event in events}, event_id__in=by_event)
    entries = Entry.objects.filter(theirs | Q(idempotency_key__in=by_key), kind=EntryKind.EARN)
    invitees = Counter[UUID]()
    for key, event_id in entries.values_list("idempotency_key", "event_id"):
        invitee_id = by_key.get(key) or (event_id and by_event.get(event_id))
        if invitee_id:
            invitees[invitee_id] += 1
    return invitees


def _flaws(event: Event[UserRegistered], outcomes: Sequence[str], credited: int) -> Iterator[Flaw]:
    kind, what = None, ""
    if max(len(outcomes), credited) > 1:
        kind = FlawKind.DOUBLED
        what = f"The reward was decided {len(outcomes)} times and credited {credited} times."
    elif not outcomes and credited:
        kind, what = FlawKind.TORN, "The reward was credited without a decision."
    elif not outcomes:
        kind, what = FlawKind.MISSING, "Nobody decided about rewarding the inviter."
    elif outcomes == [RewardOutcome.GRANTED] and not credited:
        kind, what = FlawKind.TORN, "The reward was granted, but its entry is not in the ledger."
    if kind:
        yield Flaw(event_id=event.id, kind=kind, what=what)


@audit(ACCOUNT_RECEIVER)
def audit_accounts(events: Sequence[Event[Any]]) -> Iterator[Flaw]:
    """Points accounts are frozen, open or closed as their owners' accounts are now.

    And nobody's reward for inviting one of them waits for a review that is over.
    """
    latest = {event.data.user_id: event for event in events}
    owners = accounts_by_id(latest)
    accounts = PointsAccount.objects.in_bulk(list(latest))
    waiting = _waiting_for_review(latest)
    for user_id, event in latest.items():
        what = _differs(owners[user_id], accounts.get(user_id))
        if not what and user_id in waiting and owners[user_id].status != "flagged":
            what = "The reward for inviting the person waits for a review that is over."
        if what:
            yield Flaw(event_id=event.id, kind=FlawKind.MISSING, what=what)


def _waiting_for_review(invitees: Iterable[UUID]) -> set[UUID]:
    """Return the invited people whose own review the reward for them waits for."""
    waiting = RewardDecision.objects.filter(
        invitee__in=invitees,
        outcome=RewardOutcome.PENDING,
        reason=RewardReason.INVITEE_FLAGGED,
    )
    return set(waiting.values_list("invitee_id", flat=True))


def _differs(owner: AccountSummary, account: PointsAccount | None) -> str:
    if account is None:
        return "The person has no points account that could follow theirs."
    if (account.closed_at is None) != (owner.closed_at is None):
        return f"The points account is not closed as the account is ({owner.status})."
    if (account.frozen_at is not None) != (owner.status == "flagged"):
        return f"The points account is not frozen as the account is ({owner.status})."
    return ""


@audit(REFERRAL_RECEIVER, depends_on=[REWARD_RECEIVER])
def audit_referrals(
    events: Sequence[Event[ReferralApproved] | Event[ReferralVoided]],
) -> Iterator[Flaw]:
    """Rewards are granted or taken back as referrals are now."""
    latest = {event.data.invitee_id: event for event in events}
    referrals = referrals_by_invitee(latest)
    rewards = RewardDecision.objects.filter(invitee__in=latest, rule_kind=RuleKind.REFERRAL)
    decisions = {decision.invitee_id: decision for decision in rewards}
    credited = _credits_that_stand(latest)
    for invitee_id, event in latest.items():
        # Where nothing was decided, the audit of the registration tells.
        if invitee_id in decisions and invitee_id in referrals:
            status, is_credited = referrals[invitee_id].status, invitee_id in credited
            yield from _flaws_of_reward(event.id, decisions[invitee_id], status, is_credited)


def _flaws_of_reward(
    event_id: UUID, decision: RewardDecision, referral: str, is_credited: bool
) -> Iterator[Flaw]:
    waits_for_it = decision.reason == RewardReason.REFERRAL_FLAGGED
    if referral == "voided" and decision.outcome != RewardOutcome.VOIDED:
        what = f"The referral is void, but the reward is {decision.outcome}."
        yield Flaw(event_id=event_id, kind=FlawKind.MISSING, what=what)
    elif referral == "voided" and is_credited:
        what = "The reward is void, but its points were not taken back."
        yield Flaw(event_id=event_id, kind=FlawKind.TORN, what=what)
    elif referral == "approved" and waits_for_it:
        what = "The referral is approved, but the reward still waits for that."
        yield Flaw(event_id=event_id, kind=FlawKind.MISSING, what=what)


def _credits_that_stand(invitees: Iterable[UUID]) -> set[UUID]:
    """Return the people for whom a reward was credited and not reversed."""
    by_key = {reward_key(RuleKind.REFERRAL, invitee_id): invitee_id for invitee_id in invitees}
    entries = Entry.objects.filter(idempotency_key__in=by_key, reversed_by__isnull=True)
    return {by_key[key] for key in entries.values_list("idempotency_key", flat=True)}
