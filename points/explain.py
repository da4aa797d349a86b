"""What points tells when somebody asks what happened to a user."""

from uuid import UUID

from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.queries import invitees_of
from events.operations.story import Awaited, Fact, Remark, Subject, Told
from events.operations.tellers import teller
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
    outcome: str = decision.get_outcome_display()
    text = _("reward of account %(inviter)s for inviting %(invitee)s: %(outcome)s") % {
        "inviter": decision.inviter_id,
        "invitee": decision.invitee_id,
        "outcome": f"{outcome}: {decision.get_reason_display()}" if decision.reason else outcome,
    }
    return Fact(at=decision.decided_at, text=f"points: {text}", event_id=decision.event_id)


def _entered(entry: Entry) -> Fact:
    text = _("%(kind)s %(amount)+d (%(reason)s), balance %(balance)d") % {
        "kind": entry.get_kind_display(),
        "amount": entry.amount,
        "reason": entry.reason or _("no reason"),
        "balance": entry.balance_after,
    }
    return Fact(at=entry.occurred_at, text=f"points: {text}", event_id=entry.event_id)


def _balance(user_id: UUID) -> Remark:
    points = summary_of(user_id)
    notes = [
        _(", %(points)d more are held back") % {"points": points.pending} if points.pending else "",
        _("; what comes next repays what was taken back too late") if points.balance < 0 else "",
        _("; the next ones lapse on %(date)s") % {"date": f"{points.next_expiry:%Y-%m-%d}"}
        if points.next_expiry
        else "",
        _("; the account is frozen: points come in, but can't be spent") if points.frozen else "",
        _("; the account is closed") if points.closed else "",
    ]
    text = _("The points balance is %(balance)d%(notes)s.")
    return Remark(text=text % {"balance": points.balance, "notes": "".join(notes)})


def _refusal(decision: RewardDecision, user_id: UUID) -> Remark:
    waits = decision.outcome == RewardOutcome.PENDING
    if decision.inviter_id == user_id:
        text = (
            _("No reward for inviting account %(invitee)s yet: %(reason)s.")
            if waits
            else _("No reward for inviting account %(invitee)s: %(reason)s.")
        )
    else:
        text = (
            _("The inviter has no reward for inviting account %(invitee)s yet: %(reason)s.")
            if waits
            else _("The inviter has no reward for inviting account %(invitee)s: %(reason)s.")
        )
    told = {"invitee": decision.invitee_id, "reason": decision.get_reason_display()}
    return Remark(text=text % told, event_id=decision.event_id)
