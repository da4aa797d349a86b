"""What points tells when somebody asks what happened to a user."""

from uuid import UUID

from django.db.models import Q

from accounts.queries import invitees_of
from events.operations.explain import Awaited, Fact, Remark, Subject, Told, teller
from points.ledger import Entry, PointsAccount
from points.queries import REWARD_RECEIVER, summary_of
from points.rewards import RewardDecision, RewardOutcome

MAX_ROWS = 50  # decisions, and entries, of one person: the newest


@teller
def tell(subject: Subject) -> Told:
    """Tell the decisions about the person, invited or inviting, the entries and the balance."""
    try:
        user_id = UUID(subject.key)
    except ValueError:  # an event about something else
        return Told()
    decisions = list(
        RewardDecision.objects.filter(Q(invitee=user_id) | Q(inviter=user_id)).order_by("-pk")[
            :MAX_ROWS
        ]
    )
    entries = Entry.objects.filter(account=user_id).order_by("-number")[:MAX_ROWS]
    has_account = PointsAccount.objects.filter(pk=user_id).exists()
    refused = [d for d in decisions if d.outcome != RewardOutcome.GRANTED]
    return Told(
        facts=[*map(_decided, decisions), *map(_entered, entries)],
        remarks=[
            *([_balance(user_id)] if has_account else []),
            *[_refusal(decision, user_id) for decision in refused],
        ],
        awaited=[_registrations_of(invitees_of(user_id, MAX_ROWS))],
    )


def _registrations_of(invitees: list[UUID]) -> Awaited:
    return Awaited(receiver=REWARD_RECEIVER, keys=[str(invitee) for invitee in invitees])


def _decided(decision: RewardDecision) -> Fact:
    reason = f": {decision.get_reason_display()}" if decision.reason else ""
    text = (
        f"points: reward of account {decision.inviter_id} for inviting {decision.invitee_id}: "
        f"{decision.outcome}{reason}"
    )
    return Fact(at=decision.decided_at, text=text, event_id=decision.event_id)


def _entered(entry: Entry) -> Fact:
    text = (
        f"points: {entry.get_kind_display()} {entry.amount:+d} ({entry.reason or 'no reason'}), "
        f"balance {entry.balance_after}"
    )
    return Fact(at=entry.occurred_at, text=text, event_id=entry.event_id)


def _balance(user_id: UUID) -> Remark:
    points = summary_of(user_id)
    notes = [
        f", {points.pending} more are held back" if points.pending else "",
        "; what comes next repays what was taken back too late" if points.balance < 0 else "",
        f"; the next ones lapse on {points.next_expiry:%Y-%m-%d}" if points.next_expiry else "",
        "; the account is frozen: points come in, but can't be spent" if points.frozen else "",
        "; the account is closed" if points.closed else "",
    ]
    return Remark(text=f"The points balance is {points.balance}{''.join(notes)}.")


def _refusal(decision: RewardDecision, user_id: UUID) -> Remark:
    reason = decision.get_reason_display()
    whose = "No reward" if decision.inviter_id == user_id else "The inviter has no reward"
    later = " yet" if decision.outcome == RewardOutcome.PENDING else ""
    text = f"{whose} for inviting account {decision.invitee_id}{later}: {reason}."
    return Remark(text=text, event_id=decision.event_id)
