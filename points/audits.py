"""What points owes to events, and a look whether it is there."""

from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

from django.db.models import Q

from accounts.signals import UserRegistered
from events.envelope import Event
from events.operations.audits import Flaw, FlawKind, audit, figures
from points.invariants import check_ledger
from points.ledger import Entry, EntryKind
from points.queries import REWARD_RECEIVER
from points.rewards import RewardDecision, RewardOutcome, RuleKind

figures("points.ledger", check_ledger)


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
    by_key = {f"reward:{RuleKind.REFERRAL}:{user_id}": user_id for user_id in by_event.values()}
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
