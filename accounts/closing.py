"""Closing an account for good: it keeps its id and its history, and loses everything personal."""

import re
from collections.abc import Collection
from enum import StrEnum
from uuid import UUID

from allauth.account.models import EmailAddress
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from knox.models import AuthToken

from accounts import digests, emails, history
from accounts.history import Why
from accounts.locks import lock_account
from accounts.models import (
    NOTE_LENGTH,
    AccountStatus,
    FormerAddress,
    StatusChange,
    StatusSubject,
    User,
)
from accounts.referrals import void_all_of
from accounts.signals import AccountClosed, account_closed

OBJECT_REPR_LENGTH = 200  # of the admin's log


class CloseReason(StrEnum):
    """Why an account is closed."""

    REQUESTED = "requested"  # by its owner: what inviting people brought others stays
    FRAUD = "fraud"  # referrals by it and of it are void


def close_account(
    *, user_id: UUID, reason: CloseReason, actor: UUID | None = None, note: str = ""
) -> bool:
    """Close an account for good, anonymise it, and publish `account_closed`.

    Its addresses are kept as keyed hashes only: whoever signs up again with one is known to
    return. Tokens and sessions end. A fraud's referrals become void, with an event each.
    Returns whether this call did it. Raises User.DoesNotExist.
    """
    why = Why(reason=CloseReason(reason).value, actor=actor, note=note)
    with transaction.atomic():
        user = lock_account(user_id)
        if user.status == AccountStatus.CLOSED:
            return False
        before, addresses = user.status, _remember_addresses(user)
        _anonymise(user)
        event = account_closed.publish(AccountClosed(user_id=user_id, reason=why.reason))
        history.record(
            subject=StatusSubject.ACCOUNT,
            user_ids=[user_id],
            before=[before],
            after=AccountStatus.CLOSED,
            events=[event],
            why=why,
        )
        _redact(addresses, user)
        if reason == CloseReason.FRAUD:
            void_all_of(user, why)
    return True


def find_closed(address: str) -> User | None:
    """Return the account that had a folded address and was closed last, or None."""
    known = digests.digests(digests.ADDRESS, address)
    closed = User.objects.filter(former_addresses__address_digest__in=known)
    return closed.order_by("-closed_at").first()


def formerly(address: str) -> QuerySet[FormerAddress]:
    """Return the rows of closed accounts that had a folded address, or whose person has it.

    Other spellings of a mailbox are known only where its owner confirmed one.
    """
    same = digests.digests(digests.ADDRESS, address)
    person = digests.digests(digests.PERSON, emails.canonical_email(address))
    return FormerAddress.objects.filter(Q(address_digest__in=same) | Q(person_digest__in=person))


def _remember_addresses(user: User) -> set[str]:
    """Keep the hashes of the addresses that were the person's. Returns all that were named."""
    rows = EmailAddress.objects.filter(user=user).values_list("email", "verified")
    named = {emails.fold_email(email): verified for email, verified in rows}
    # One that was never confirmed may be another person's, who is not to be taken for this one.
    own = {user.email, *(email for email, verified in named.items() if verified)}
    FormerAddress.objects.bulk_create(
        _former(user, email, is_confirmed=named.get(email, False)) for email in sorted(own)
    )
    return {user.email, *named}


def _former(user: User, email: str, *, is_confirmed: bool) -> FormerAddress:
    """Return an address as it is remembered.

    Of an account's own address that was never confirmed only this spelling is: or else whoever
    registers and closes victim+1@ takes the newcomer's coupon from victim@.
    """
    person = digests.digest(digests.PERSON, emails.canonical_email(email)) if is_confirmed else ""
    return FormerAddress(
        account=user,
        address_digest=digests.digest(digests.ADDRESS, email),
        person_digest=person,
    )


def _anonymise(user: User) -> None:
    User.objects.filter(pk=user.pk).update(
        status=AccountStatus.CLOSED,
        closed_at=timezone.now(),
        is_active=False,  # ends the sessions
        email=emails.placeholder(user.pk),
        email_canonical=emails.placeholder(user.pk),
        password=make_password(None),
        last_login=None,
        is_staff=False,
        is_superuser=False,
    )
    user.groups.clear()
    user.user_permissions.clear()
    EmailAddress.objects.filter(user=user).delete()
    AuthToken.objects.filter(user=user).delete()


def _redact(addresses: Collection[str], user: User) -> None:
    """Put the placeholder for the addresses in what staff did and wrote about them."""
    either = "|".join(map(re.escape, sorted(addresses)))
    # Not inside of another person's longer address.
    pattern = re.compile(rf"(?<![\w.+-])(?:{either})(?![\w-]|\.\w)", re.IGNORECASE)
    placeholder = emails.placeholder(user.pk)
    entries = list(LogEntry.objects.filter(_naming(addresses, "object_repr", "change_message")))
    for entry in entries:
        entry.object_repr = pattern.sub(placeholder, entry.object_repr)[:OBJECT_REPR_LENGTH]
        entry.change_message = pattern.sub(placeholder, entry.change_message)
    LogEntry.objects.bulk_update(entries, ["object_repr", "change_message"])
    changes = list(StatusChange.objects.filter(user=user))
    for change in changes:
        change.note = pattern.sub(placeholder, change.note)[:NOTE_LENGTH]
    StatusChange.objects.bulk_update(changes, ["note"])


def _naming(addresses: Collection[str], *columns: str) -> Q:
    named = Q(pk__in=[])
    for address in addresses:
        for column in columns:
            named |= Q(**{f"{column}__icontains": address})
    return named
