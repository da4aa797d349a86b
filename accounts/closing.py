"""Closing an account for good: it keeps its id and its history, and loses everything personal."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from knox.models import AuthToken

import digests
from accounts import emails, history, redacting
from accounts.history import Why
from accounts.locks import lock_account
from accounts.models import (
    FRAUD,
    AccountStatus,
    FormerAddress,
    StatusSubject,
    User,
)
from accounts.sessions import forget_sessions
from accounts.settling import request_settlement, settle_referrals
from accounts.signals import AccountClosed, account_closed
from events.envelope import Event

# What is hashed, for `digests`:
ADDRESS = "accounts.address"  # an e-mail address as it was stored
PERSON = "accounts.person"  # a canonical e-mail address


class CloseReason(StrEnum):
    """Why an account is closed."""

    REQUESTED = "requested"  # by its owner: what inviting people brought others stays
    FRAUD = FRAUD  # referrals by it and of it are void


def close_account(
    *, user_id: UUID, reason: CloseReason, actor: UUID | None = None, note: str = ""
) -> bool:
    """Close an account for good, anonymise it, and publish `account_closed`.

    Its addresses are kept as keyed hashes only: whoever signs up again with one is known to
    return. Tokens and sessions end. A fraud's referrals become void, and so do those that wait for
    a review of the account, with an event each: a chunk at once, more of them in the background.

    An account that its owner had closed may still be closed for fraud, which concerns its referrals
    alone. Returns whether this call did anything. Raises User.DoesNotExist.
    """
    words = _redact(User.objects.get(pk=user_id), note)
    why = Why(reason=CloseReason(reason).value, actor=actor, note=words)
    with transaction.atomic():
        user = lock_account(user_id)
        if user.status == AccountStatus.CLOSED:
            return reason == CloseReason.FRAUD and _condemn(user, why)
        before = user.status
        _remember_addresses(user)
        _anonymise(user)
        event = account_closed.publish(AccountClosed(user_id=user_id, reason=why.reason))
        _record(user, before, event, why)
        settle_referrals(user_id=user_id)
    return True


def find_closed(address: str) -> User | None:
    """Return the account that had a folded address and was closed last, or None."""
    known = digests.digests(ADDRESS, address)
    closed = User.objects.filter(former_addresses__address_digest__in=known)
    return closed.order_by("-closed_at").first()


def formerly(address: str) -> QuerySet[FormerAddress]:
    """Return the rows of closed accounts that had a folded address, or whose person has it.

    Other spellings of a mailbox are known only where its owner confirmed one.
    """
    same = digests.digests(ADDRESS, address)
    person = digests.digests(PERSON, emails.canonical_email(address))
    return FormerAddress.objects.filter(Q(address_digest__in=same) | Q(person_digest__in=person))


def _condemn(user: User, why: Why) -> bool:
    """Record once that a closed account is a fraud's, and have its referrals follow."""
    if history.is_fraud(user.pk):
        return False
    _record(user, AccountStatus.CLOSED, request_settlement(user.pk), why)
    return True


def _record(user: User, before: str, event: Event[Any], why: Why) -> None:
    history.record(
        subject=StatusSubject.ACCOUNT,
        user_ids=[user.pk],
        before=[before],
        after=AccountStatus.CLOSED,
        events=[event],
        why=why,
    )


def _redact(user: User, note: str) -> str:
    """Take the addresses out of what staff wrote; return what they write now without them.

    It looks through all of it, so nothing is locked yet. Whoever is interrupted before the account
    is closed repeats it, and loses no more than they were about to.
    """
    named: dict[str, Any] = {
        "addresses": {user.email, *_confirmed_by_address(user)},
        "placeholder": emails.placeholder(user.pk),
    }
    if user.status != AccountStatus.CLOSED:
        redacting.redact(**named)
    return redacting.without(note, **named)


def _confirmed_by_address(user: User) -> dict[str, bool]:
    """Return whether each address that an account named was confirmed."""
    rows = EmailAddress.objects.filter(user=user).values_list("email", "verified")
    return {emails.fold_email(email): verified for email, verified in rows}


def _remember_addresses(user: User) -> None:
    """Keep the hashes of the addresses that were the person's."""
    named = _confirmed_by_address(user)
    # One that was never confirmed may be another person's, who is not to be taken for this one.
    own = {user.email, *(email for email, verified in named.items() if verified)}
    FormerAddress.objects.bulk_create(
        _former(user, email, is_confirmed=named.get(email, False)) for email in sorted(own)
    )


def _former(user: User, email: str, *, is_confirmed: bool) -> FormerAddress:
    """Return an address as it is remembered.

    Of an account's own address that was never confirmed only this spelling is: or else whoever
    registers and closes victim+1@ takes the newcomer's coupon from victim@.
    """
    person = digests.digest(PERSON, emails.canonical_email(email)) if is_confirmed else ""
    return FormerAddress(
        account=user,
        address_digest=digests.digest(ADDRESS, email),
        person_digest=person,
    )


def _anonymise(user: User) -> None:
    User.objects.filter(pk=user.pk).update(
        status=AccountStatus.CLOSED,
        closed_at=timezone.now(),
        is_active=False,  # ends the sessions
        email=emails.placeholder(user.pk),
        email_canonical=emails.placeholder(user.pk),
        display_name="",
        password=make_password(None),
        last_login=None,
        is_staff=False,
        is_superuser=False,
    )
    user.groups.clear()
    user.user_permissions.clear()
    EmailAddress.objects.filter(user=user).delete()
    Authenticator.objects.filter(user=user).delete()
    forget_sessions(user.pk)
    AuthToken.objects.filter(user=user).delete()
