"""What the standing of an account means for the referrals that name it, a chunk at a time."""

from dataclasses import replace
from uuid import UUID

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from accounts import history
from accounts.history import Why
from accounts.locks import lock_account, lock_invitees
from accounts.models import AccountStatus, Referral, ReferralStatus
from accounts.referrals import INVITER_FLAGGED, INVITER_INACTIVE, lift, void
from accounts.signals import ReferralSettlementRequested, referral_settlement_requested
from events.envelope import Event

CHUNK = 100  # invited people in one transaction: they wait, and on SQLite so does everybody


def settle_referrals(*, user_id: UUID) -> None:
    """Void or release referrals as the account stands, whatever led to it.

    Those of a fraud are void: by whom it was invited, and whom it invited. What waited for the
    review of an inviter is released where that has ended well. It is void where the inviter left
    under review, as a registration through them is from then on: nobody will end the review, and
    leaving is to be no way around it.

    What a chunk leaves is asked for by an event. Pending referrals are left: they are void once
    they are decided, for an inviter who is closed, and never decided, for an invited person who is.
    Repeating it is harmless. Call it inside transaction.atomic(). Raises User.DoesNotExist.
    """
    status = lock_account(user_id).status
    change = history.latest_of_account(user_id)
    if change is None or status == AccountStatus.FLAGGED:
        return
    rest = waiting_for_inviters().filter(inviter=user_id)
    why = Why(reason=change.reason, actor=change.actor_id, note=change.note)
    if history.is_fraud(user_id):
        rest = _void_of_fraud(user_id, why)
    elif status == AccountStatus.CLOSED and change.before == AccountStatus.FLAGGED:
        void(lock_invitees(rest, CHUNK), replace(why, reason=INVITER_INACTIVE))
    else:
        lift(lock_invitees(rest, CHUNK), {INVITER_FLAGGED}, why)
    if rest.exists():
        request_settlement(user_id)


def waiting_for_inviters() -> QuerySet[Referral]:
    """Return the referrals that are held because the inviter was under review."""
    # As text: SQLite cannot look into a JSON array.
    flagged = Referral.objects.filter(status=ReferralStatus.FLAGGED)
    held = flagged.annotate(reasons_text=Cast("reasons", TextField()))
    return held.filter(reasons_text__contains=f'"{INVITER_FLAGGED}"')


def request_settlement(user_id: UUID) -> Event[ReferralSettlementRequested]:
    """Have the next chunk settled in the background. Hold the account's lock."""
    return referral_settlement_requested.publish(ReferralSettlementRequested(user_id=user_id))


def _void_of_fraud(user_id: UUID, why: Why) -> QuerySet[Referral]:
    """Void the referral of a fraud and a chunk of those by it. Returns what is left."""
    decided = Referral.objects.filter(status__in=[ReferralStatus.APPROVED, ReferralStatus.FLAGGED])
    void(list(decided.filter(pk=user_id)), why)
    invited = decided.filter(inviter=user_id)
    void(lock_invitees(invited, CHUNK), why)
    return invited
