"""Putting an account under review, and taking it out again."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import history
from accounts.history import Why
from accounts.locks import lock_account
from accounts.models import AccountStatus, StatusSubject, User
from accounts.settling import settle_referrals
from accounts.signals import AccountCleared, AccountFlagged, account_cleared, account_flagged
from events.envelope import Event


class AccountIsClosed(Exception):
    """Closing an account is final: it is neither flagged nor cleared any more."""

    def __init__(self) -> None:
        super().__init__(_("The account is closed, and that is final."))


def flag_account(*, user_id: UUID, reason: str, actor: UUID | None = None, note: str = "") -> bool:
    """Put an account under review, and publish `account_flagged`.

    `reason` is a short code, `note` what somebody wrote, `actor` the account of whoever did it.
    Referrals that are decided meanwhile wait; those that were decided stay as they are.
    Returns whether this call did it. Raises AccountIsClosed and User.DoesNotExist.
    """
    with transaction.atomic():
        user = lock_account(user_id)
        if not _move(user, AccountStatus.ACTIVE, AccountStatus.FLAGGED):
            return False
        event = account_flagged.publish(AccountFlagged(user_id=user_id, reason=reason))
        _record(user, AccountStatus.FLAGGED, event, Why(reason=reason, actor=actor, note=note))
    return True


def clear_account(*, user_id: UUID, reason: str, actor: UUID | None = None, note: str = "") -> bool:
    """Put an account that was under review in good standing again; publish `account_cleared`.

    Referrals that waited for nothing else than their inviter are approved: a chunk at once, more of
    them in the background.
    Returns whether this call did it. Raises AccountIsClosed and User.DoesNotExist.
    """
    with transaction.atomic():
        user = lock_account(user_id)
        if not _move(user, AccountStatus.FLAGGED, AccountStatus.ACTIVE):
            return False
        event = account_cleared.publish(AccountCleared(user_id=user_id, reason=reason))
        _record(user, AccountStatus.ACTIVE, event, Why(reason=reason, actor=actor, note=note))
        settle_referrals(user_id=user_id)
    return True


def _move(user: User, before: AccountStatus, after: AccountStatus) -> bool:
    if user.status == AccountStatus.CLOSED:
        raise AccountIsClosed
    return bool(User.objects.filter(pk=user.pk, status=before).update(status=after))


def _record(user: User, after: AccountStatus, event: Event[Any], why: Why) -> None:
    history.record(
        subject=StatusSubject.ACCOUNT,
        user_ids=[user.pk],
        before=[user.status],
        after=after,
        events=[event],
        why=why,
    )
