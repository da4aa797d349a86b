"""What is noticed about a sign-up, and what somebody else decides about it.

Signals hold the inviter's reward back and ask for a judgment. They never block a registration.
"""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from disposable_email_domains import blocklist
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

import digests
from accounts import emails, history
from accounts.closing import PERSON, formerly
from accounts.history import Why
from accounts.locks import lock_account
from accounts.models import (
    AccountStatus,
    Referral,
    ReferralStatus,
    RiskSignal,
    RiskSignalKind,
    User,
)
from accounts.referrals import lift
from accounts.signals import RiskCheckRequested, risk_check_requested
from accounts.standing import clear_account, flag_account
from events.operations.chunks import delete_in_chunks

RISK_CHECK = "risk_check"  # the reason of what is done on a decision
HOLDING_WEIGHT = 50  # from which on, all told, a reward is held and somebody is asked
# What is hashed, for `digests`:
_DOMAIN = "accounts.domain"
_CLIENT = "accounts.client"  # a network address

_DISPOSABLE: frozenset[str] = frozenset(blocklist)

# A household or a café shares a network address: that alone must hold nothing.
WEIGHTS = {
    RiskSignalKind.SAME_PERSON: 80,
    RiskSignalKind.DISPOSABLE_DOMAIN: 50,
    RiskSignalKind.INVITER_BURST: 50,
    RiskSignalKind.SHARED_ADDRESS: 10,
}


def notice(*, user: User, inviter: User | None, client: str) -> list[RiskSignal]:
    """Return what is noticeable about a new account, to be saved with it.

    `client` is the network address the sign-up comes from, empty where that is unknown. This only
    reads, in at most four queries, so that it need not be in the sign-up's transaction.
    """
    kinds = {
        RiskSignalKind.DISPOSABLE_DOMAIN: is_disposable(user.email),
        RiskSignalKind.SAME_PERSON: inviter is not None and _is_same_person(user, inviter),
        RiskSignalKind.INVITER_BURST: inviter is not None and _is_burst(inviter),
    }
    signals = [_signal(user, kind) for kind, noticed in kinds.items() if noticed]
    return signals + ([_client_signal(user, client)] if client else [])


def suspicions(signals: Iterable[RiskSignal]) -> list[str]:
    """Return the kinds of the signals where they weigh enough to hold a reward; else nothing."""
    telling = [signal for signal in signals if signal.weight]
    if sum(signal.weight for signal in telling) < HOLDING_WEIGHT:
        return []
    return sorted(str(RiskSignalKind(signal.kind).value) for signal in telling)


def signals_of(user_id: UUID) -> QuerySet[RiskSignal]:
    """Return what tells something about an account's sign-up at present."""
    lasting = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    return RiskSignal.objects.filter(lasting, user=user_id, weight__gt=0)


def request_check(*, user_id: UUID, suspicions: list[str]) -> None:
    """Ask whoever listens to judge a new account. Call it in the registration's transaction."""
    if suspicions:
        risk_check_requested.publish(RiskCheckRequested(user_id=user_id, signals=suspicions))


def apply_decision(*, user_id: UUID, decision: str, reason: str) -> None:
    """Flag or clear an account as somebody decided ("flag" | "clear"), with what depends on it.

    Clearing takes the risk signals away as reasons to hold the account's referral; it ends a review
    that such a decision began, never one that staff did. Flagging leaves a referral as it is: one
    that is held waits in the queue of reviews for a person, as voiding is final. A decision that
    was applied before, or about an account that is closed or unknown, does nothing.

    `reason` is kept with the change, for staff, and not published again.
    Raises ValueError where the decision is neither.
    """
    if decision not in _ACTIONS:
        raise ValueError(f"A risk decision is one of {sorted(_ACTIONS)}.")
    with transaction.atomic():
        user = User.objects.filter(pk=user_id).first()
        if user is None or lock_account(user_id).status == AccountStatus.CLOSED:
            return
        _ACTIONS[decision](user_id, reason)


def delete_expired_signals() -> int:
    """Delete what tells nothing any more, some at a time. Returns how many there were."""
    return delete_in_chunks(_expired_signals())


def count_expired_signals() -> int:
    """Return how many signals `delete_expired_signals` would delete."""
    return _expired_signals().count()


def _expired_signals() -> QuerySet[RiskSignal]:
    return RiskSignal.objects.filter(expires_at__lte=timezone.now())


def _flag(user_id: UUID, note: str) -> None:
    flag_account(user_id=user_id, reason=RISK_CHECK, note=note)


def _clear(user_id: UUID, note: str) -> None:
    if history.reason_of_flag(user_id) == RISK_CHECK:
        clear_account(user_id=user_id, reason=RISK_CHECK, note=note)
    held = Referral.objects.filter(pk=user_id, status=ReferralStatus.FLAGGED)
    lift(list(held), RiskSignalKind.values, Why(reason=RISK_CHECK, note=note))


_ACTIONS = {"flag": _flag, "clear": _clear}


def is_disposable(email: str) -> bool:
    """Tell whether the domain, or one that it is part of, gives addresses to throw away."""
    labels = emails.domain_of(email).split(".")
    return any(".".join(labels[start:]) in _DISPOSABLE for start in range(len(labels) - 1))


def _is_same_person(user: User, inviter: User) -> bool:
    """Tell whether the inviter, or somebody they invited before, has or had this mailbox."""
    canonical = emails.canonical_email(user.email)
    same = User.objects.filter(email_canonical=canonical)
    if same.filter(Q(pk=inviter.pk) | Q(referral__inviter=inviter)).exists():
        return True
    former = formerly(user.email).filter(account__referral__inviter=inviter)
    return user.is_returning and former.exists()


def _is_burst(inviter: User) -> bool:
    limit = settings.RISK_INVITER_BURST
    if not limit:
        return False
    since = timezone.now() - timedelta(seconds=settings.RISK_INVITER_BURST_WINDOW_S)
    before = Referral.objects.filter(inviter=inviter, created_at__gt=since)
    return bool(before[:limit].count() >= limit)


def _signal(user: User, kind: RiskSignalKind) -> RiskSignal:
    values = {
        RiskSignalKind.DISPOSABLE_DOMAIN: (_DOMAIN, emails.domain_of(user.email)),
        RiskSignalKind.SAME_PERSON: (PERSON, emails.canonical_email(user.email)),
    }
    digest = digests.digest(*values[kind]) if kind in values else ""
    return RiskSignal(user=user, kind=kind, weight=WEIGHTS[kind], digest=digest)


def _client_signal(user: User, client: str) -> RiskSignal:
    now, kind, limit = timezone.now(), RiskSignalKind.SHARED_ADDRESS, settings.RISK_SHARED_ADDRESS
    known = digests.digests(_CLIENT, client)
    others = RiskSignal.objects.filter(kind=kind, digest__in=known, expires_at__gt=now)
    is_shared = limit and others[:limit].count() >= limit
    return RiskSignal(
        user=user,
        kind=kind,
        weight=WEIGHTS[kind] if is_shared else 0,
        digest=digests.digest(_CLIENT, client),
        expires_at=now + timedelta(seconds=settings.RISK_SHARED_ADDRESS_WINDOW_S),
    )
