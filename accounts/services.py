"""What can happen to an account. Pages, API, admin and commands all come through here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from allauth.account import app_settings as allauth_settings
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from knox.models import AuthToken

import codes
from accounts import emails, risk, second_factor, terms, validators, verification
from accounts.closing import formerly
from accounts.locks import lock_account, lock_with_inviter
from accounts.models import (
    REFERRAL_CODE_LENGTH,
    AccountStatus,
    Consent,
    Referral,
    ReferralStatus,
    RiskSignal,
    User,
    new_referral_code,
)
from accounts.referrals import decide, may_invite
from accounts.signals import UserRegistered, user_registered
from accounts.standing import AccountIsClosed
from accounts.terms import Agreed

_INSERT_ATTEMPTS = 3  # a fresh referral code collides about once in 10 million sign-ups


class ReferralReason(StrEnum):
    """Why a registration was not credited to anyone."""

    NONE_GIVEN = "none_given"
    UNKNOWN_CODE = "unknown_code"
    INVITER_INACTIVE = "inviter_inactive"
    SELF_REFERRAL = "self_referral"


class EmailTaken(Exception):
    """The address belongs to an account already. Say so only where verification is optional."""


class MayNotLogIn(Exception):
    """The account is closed or locked out. To people, credentials of nobody are the same."""


class SecondFactorMissing(Exception):
    """The account has a second factor by now, and it was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who wants an account: an address that is none of ours to trust, and a password's hash."""

    address: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What `register` did. `referral_reason` is None where the referral was applied."""

    user: User
    referral_applied: bool
    referral_reason: ReferralReason | None


def verification_is_mandatory() -> bool:
    """Tell whether a sign-up is complete only when its address is confirmed."""
    method = allauth_settings.EMAIL_VERIFICATION
    return bool(method == allauth_settings.EmailVerificationMethod.MANDATORY)


def check_credentials(*, email: str, password: str) -> Credentials:
    """Return what an account is made of: the folded address and the hash of the password.

    Slow, as hashing is meant to be: call it before a transaction, not inside one. Nothing is looked
    up, so how long it takes does not tell known addresses. Raises ValidationError with a dict of
    errors per field.
    """
    address = _clean_credentials(email, password)
    return Credentials(address=address, password_hash=make_password(password))


def register(*, email: str, password: str, **circumstances: Any) -> Registration:
    """Create an account as `register_with` does, in one step."""
    credentials = check_credentials(email=email, password=password)
    return register_with(credentials=credentials, **circumstances)


def register_with(
    *,
    credentials: Credentials,
    referral_code: str = "",
    language: str = "en",
    agreed: Agreed | None = None,
    caller: User | None = None,
    client: str = "",
) -> Registration:
    """Create an account and credit its inviter, all or nothing.

    Publishes `user_registered`, unless the address must be confirmed first: then
    `complete_registration` does. A bad referral code never blocks: the result says why it was not
    applied. `caller` is the logged-in account that asks, if any; its own code does not count.
    What is suspicious holds the inviter's reward back and nothing else; `client` is the network
    address that the sign-up comes from. `agreed` says that the person agreed to the terms; None:
    nobody showed them.

    Raises EmailTaken.
    """
    address = credentials.address
    inviter, reason = _find_inviter(referral_code, address, caller)
    if _is_taken(address):
        raise EmailTaken
    user = User(
        email=address,
        password=credentials.password_hash,
        language=_known_language(language),
        registered_at=None if verification_is_mandatory() else timezone.now(),
        # After the look whether it is taken: an account that was closed by then is known now.
        is_returning=formerly(address).exists(),
    )
    noticed = risk.notice(user=user, inviter=inviter, client=client)
    consent = terms.consent_of(user, agreed, user.language) if agreed else None
    referral = _insert(user, inviter, noticed, consent)
    if referral is not None and referral.status == ReferralStatus.VOIDED:
        inviter, reason = None, ReferralReason.INVITER_INACTIVE  # closed in the meantime
    return Registration(user=user, referral_applied=inviter is not None, referral_reason=reason)


def complete_registration(*, user_id: UUID) -> bool:
    """Finish a sign-up that waited for its address, and publish `user_registered`.

    Returns whether this call did it. Repeating it is harmless, and staff accounts that never
    signed up are left alone. Call it in the transaction that confirms the address.
    """
    with transaction.atomic():
        user = lock_with_inviter(user_id)
        if user.registered_at is not None or user.is_staff or not user.is_active:
            return False
        user.registered_at = timezone.now()
        user.is_returning = user.is_returning or formerly(user.email).exists()
        user.save(update_fields=["registered_at", "is_returning"])
        referral = Referral.objects.select_related("inviter").filter(pk=user_id).first()
        suspicions = risk.suspicions(risk.signals_of(user_id))
        if referral is not None:
            decide(
                referral, inviter=referral.inviter, suspicions=suspicions, now=user.registered_at
            )
            referral.save(update_fields=["status", "reasons", "decided_at"])
        _publish(user, referral, suspicions)
    return True


def complete_waiting_registration(*, user: User) -> None:
    """Complete a sign-up that waits for nothing any more. Call it whenever somebody logs in.

    Its address was confirmed by other means than the link, or confirming was mandatory and no
    longer is.
    """
    if user.registered_at is not None or user.is_staff:
        return
    if not verification_is_mandatory() or verification.is_verified(user):
        complete_registration(user_id=user.pk)


def set_password(*, user: User, password: str | None) -> None:
    """Store a new password, or none, and end all API tokens, all or nothing.

    The rest of the row is not written: the account may change meanwhile. Raises AccountIsClosed.
    """
    user.set_password(password)  # hashes: not inside the transaction
    with transaction.atomic():
        if lock_account(user.pk).status == AccountStatus.CLOSED:
            raise AccountIsClosed
        user.save(update_fields=["password"])
        AuthToken.objects.filter(user=user).delete()


def issue_token(*, user: User, passed_second_factor: bool = False) -> tuple[str, datetime]:
    """Return a new API token and when it expires. Only its hash is stored.

    Raises MayNotLogIn where the account was closed, or locked out, since its password was checked,
    and SecondFactorMissing where it has a second factor that was not passed.
    """
    with transaction.atomic():
        if not lock_account(user.pk).is_active:
            raise MayNotLogIn
        if not passed_second_factor and second_factor.is_on(user):
            raise SecondFactorMissing
        AuthToken.objects.filter(user=user, expiry__lte=timezone.now()).delete()
        stored, token = AuthToken.objects.create(user=user)
    return token, stored.expiry


def inviter_of(referral_code: str) -> User | None:
    """Return whoever invites people with this code at present, or None."""
    inviter, _reason = _find_inviter(referral_code, "", None)
    return inviter


def _clean_credentials(email: str, password: str) -> str:
    """Return the folded address. Raises one ValidationError for everything that is wrong."""
    errors: dict[str, ValidationError] = {}
    address = ""
    try:
        validators.validate_intact(email)
        address = emails.clean_email(email)
    except ValidationError as error:
        errors["email"] = error
    try:
        validators.validate_new_password(password, User(email=address))
    except ValidationError as error:
        errors["password"] = error
    if errors:
        raise ValidationError(errors)
    return address


def _find_inviter(
    text: str, address: str, caller: User | None
) -> tuple[User | None, ReferralReason | None]:
    """Return who is to be credited, or why nobody is."""
    code = codes.normalize(text)
    if not code:
        return None, ReferralReason.NONE_GIVEN
    if not codes.is_well_formed(code, REFERRAL_CODE_LENGTH):
        return None, ReferralReason.UNKNOWN_CODE
    inviter = User.objects.filter(referral_code=code).first()
    if inviter is None:
        return None, ReferralReason.UNKNOWN_CODE
    if not may_invite(inviter):
        return None, ReferralReason.INVITER_INACTIVE
    if inviter == caller or inviter.email_canonical == emails.canonical_email(address):
        return None, ReferralReason.SELF_REFERRAL
    return inviter, None


def _is_taken(address: str) -> bool:
    if User.objects.filter(email=address).exists():
        return True
    return bool(EmailAddress.objects.filter(email=address, verified=True).exists())


def _insert(
    user: User, inviter: User | None, noticed: Sequence[RiskSignal], consent: Consent | None
) -> Referral | None:
    """Insert the account, again with another referral code where that one is taken.

    Raises EmailTaken where someone else registered the address in the meantime.
    """
    for attempts_left in reversed(range(_INSERT_ATTEMPTS)):
        try:
            with transaction.atomic():
                return _insert_rows(user, inviter, noticed, consent)
        except IntegrityError as error:
            # `from None`: what PostgreSQL says after its first line quotes the row.
            if _is_taken(user.email):
                raise EmailTaken from None
            if not attempts_left:
                raise IntegrityError(str(error).partition("\n")[0]) from None
            user.referral_code = new_referral_code()
    raise AssertionError("The last attempt returns or raises.")


def _insert_rows(
    user: User, inviter: User | None, noticed: Sequence[RiskSignal], consent: Consent | None
) -> Referral | None:
    user.save(force_insert=True)
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=False)
    RiskSignal.objects.bulk_create(noticed)
    Consent.objects.bulk_create([consent] if consent else [])
    suspicions = risk.suspicions(noticed)
    referral = _insert_referral(user, inviter, suspicions) if inviter else None
    if user.registered_at is not None:
        _publish(user, referral, suspicions)
    return referral


def _insert_referral(user: User, inviter: User, suspicions: Sequence[str]) -> Referral:
    inviter = lock_account(inviter.pk)  # as it is by now, and will be when this commits
    referral = Referral(invitee=user, inviter=inviter, code_used=inviter.referral_code)
    if user.registered_at is not None:
        decide(referral, inviter=inviter, suspicions=suspicions, now=user.registered_at)
    referral.save(force_insert=True)
    return referral


def _publish(user: User, referral: Referral | None, suspicions: list[str]) -> None:
    counts = referral is not None and referral.status != ReferralStatus.VOIDED
    inviter_id = referral.inviter_id if referral and counts else None
    user_registered.publish(UserRegistered(user_id=user.pk, inviter_id=inviter_id))
    risk.request_check(user_id=user.pk, suspicions=suspicions)


def _known_language(language: str) -> str:
    return language if language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE
