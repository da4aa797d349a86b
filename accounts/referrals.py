"""What is decided about a referral: at the sign-up, and when somebody looks at it again.

pending → approved | flagged | voided; flagged → approved | voided; approved → voided.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import history
from accounts.history import Why
from accounts.locks import lock_account
from accounts.models import AccountStatus, Referral, ReferralStatus, StatusSubject, User
from accounts.signals import ReferralApproved, ReferralVoided, referral_approved, referral_voided
from events.envelope import Event

INVITER_FLAGGED = "inviter_flagged"
INVITER_INACTIVE = "inviter_inactive"
AT_ONCE = 500  # referrals in one statement

_MAY_BECOME = {
    ReferralStatus.APPROVED: [ReferralStatus.FLAGGED],
    ReferralStatus.VOIDED: [ReferralStatus.FLAGGED, ReferralStatus.APPROVED],
}


class RefusalCode(StrEnum):
    """Why a referral cannot be decided."""

    PENDING = "referral_pending"
    VOID_IS_FINAL = "referral_voided"


_REFUSALS = {
    RefusalCode.PENDING: _("The invited person has not completed the sign-up."),
    RefusalCode.VOID_IS_FINAL: _("The referral was declared void, and that is final."),
}


class ChangedMeanwhile(RuntimeError):
    """A referral was changed by somebody who did not hold the invited person's lock."""


class Undecidable(Exception):
    """The referral cannot be decided like this. `code` says why, the text says it to people."""

    def __init__(self, code: RefusalCode) -> None:
        self.code = code
        super().__init__(_REFUSALS[code])


def may_invite(inviter: User) -> bool:
    """Tell whether people who sign up through this account's link are credited to it."""
    return inviter.is_active and inviter.status != AccountStatus.CLOSED


def decide(referral: Referral, *, inviter: User, suspicions: Sequence[str], now: datetime) -> None:
    """Decide a referral at the sign-up; saving it is left to the caller. Hold the inviter's lock.

    `suspicions` are the kinds of risk signals that hold the reward back.
    """
    referral.decided_at = now
    reasons = [INVITER_FLAGGED] if inviter.status == AccountStatus.FLAGGED else []
    reasons += suspicions
    if not may_invite(inviter):
        referral.status, referral.reasons = ReferralStatus.VOIDED, [INVITER_INACTIVE]
    elif reasons:
        referral.status, referral.reasons = ReferralStatus.FLAGGED, reasons
    else:
        referral.status, referral.reasons = ReferralStatus.APPROVED, []


def approve_referral(
    *, invitee_id: UUID, reason: str, actor: UUID | None = None, note: str = ""
) -> bool:
    """Let a referral that was held for review count, and publish `referral_approved`.

    Returns whether this call did it: one that counts already is left alone. Raises Undecidable
    where it is void or not decided yet, and Referral.DoesNotExist.
    """
    with transaction.atomic():
        referral = _lock(invitee_id)
        if referral.status == ReferralStatus.APPROVED:
            return False
        _refuse_final(referral)
        _approve([referral], Why(reason=reason, actor=actor, note=note))
    return True


def void_referral(
    *, invitee_id: UUID, reason: str, actor: UUID | None = None, note: str = ""
) -> bool:
    """Declare a referral void, for good, and publish `referral_voided`.

    Returns whether this call did it: one that is void already is left alone. Raises Undecidable
    where it is not decided yet, and Referral.DoesNotExist.
    """
    with transaction.atomic():
        referral = _lock(invitee_id)
        if referral.status == ReferralStatus.VOIDED:
            return False
        _refuse_final(referral)
        void([referral], Why(reason=reason, actor=actor, note=note))
    return True


def lift(referrals: Collection[Referral], reasons: Collection[str], why: Why) -> None:
    """Take reasons away from flagged referrals, and approve those that nothing else holds.

    Call it with the locks of the invited people held.
    """
    freed, held = [], []
    for referral in referrals:
        left = [reason for reason in referral.reasons if reason not in reasons]
        if not left:
            freed.append(referral)
        elif left != referral.reasons:
            referral.reasons = left
            held.append(referral)
    Referral.objects.bulk_update(held, ["reasons"], batch_size=AT_ONCE)
    _approve(freed, why)


def void(referrals: Sequence[Referral], why: Why) -> None:
    """Declare decided referrals void, for good. Call it with the locks of the invited people held.

    Raises ChangedMeanwhile where one is void already.
    """
    before = _move(referrals, ReferralStatus.VOIDED)
    for referral in referrals:
        referral.reasons = [*referral.reasons, why.reason]
    Referral.objects.bulk_update(referrals, ["reasons"], batch_size=AT_ONCE)
    events = referral_voided.publish_many(
        ReferralVoided(
            invitee_id=referral.invitee_id, inviter_id=referral.inviter_id, reason=why.reason
        )
        for referral in referrals
    )
    _record(referrals, before, ReferralStatus.VOIDED, events, why)


def _lock(invitee_id: UUID) -> Referral:
    referral = Referral.objects.filter(pk=invitee_id)
    if not referral.exists():
        raise Referral.DoesNotExist
    lock_account(invitee_id)
    return referral.get()


def _refuse_final(referral: Referral) -> None:
    if referral.status == ReferralStatus.PENDING:
        raise Undecidable(RefusalCode.PENDING)
    if referral.status == ReferralStatus.VOIDED:
        raise Undecidable(RefusalCode.VOID_IS_FINAL)


def _approve(referrals: Sequence[Referral], why: Why) -> None:
    before = _move(referrals, ReferralStatus.APPROVED)
    events = referral_approved.publish_many(
        ReferralApproved(invitee_id=referral.invitee_id, inviter_id=referral.inviter_id)
        for referral in referrals
    )
    _record(referrals, before, ReferralStatus.APPROVED, events, why)


def _move(referrals: Sequence[Referral], status: ReferralStatus) -> list[str]:
    """Set the status of referrals that are locked. Returns what each had before."""
    before = [referral.status for referral in referrals]
    now = timezone.now()
    for start in range(0, len(referrals), AT_ONCE):
        ids = [referral.pk for referral in referrals[start : start + AT_ONCE]]
        movable = Referral.objects.filter(pk__in=ids, status__in=_MAY_BECOME[status])
        if movable.update(status=status, decided_at=now) != len(ids):
            raise ChangedMeanwhile
    return before


def _record(
    referrals: Sequence[Referral],
    before: Sequence[str],
    after: ReferralStatus,
    events: Sequence[Event[Any]],
    why: Why,
) -> None:
    history.record(
        subject=StatusSubject.REFERRAL,
        user_ids=[referral.pk for referral in referrals],
        before=before,
        after=after,
        events=events,
        why=why,
    )
