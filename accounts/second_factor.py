"""The second factor of a login: who has one, whether a session passed it, and codes, each once."""

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.utils import decrypt, encrypt
from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest
from knox.models import AuthToken

from accounts import limits
from accounts.locks import lock_account
from accounts.models import User
from accounts.sessions import forget_other_sessions

# Recovery codes stand in for one of these; they are no factor by themselves.
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
_LAST_STEP = "last_step"  # in a TOTP authenticator's data: the time step of the newest code used


class WrongCode(Exception):
    """The code is not of this account, or it was used before, or its time is over."""


class TooManyCodes(Exception):
    """Too many wrong codes of one account, or from one network address, in a short time."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds  # until another one is looked at


def is_on(user: User) -> bool:
    """Tell whether a login to this account takes a second factor."""
    return bool(Authenticator.objects.filter(user=user, type__in=FACTORS).exists())


def takes_codes(user: User) -> bool:
    """Tell whether this account has an authenticator app, so that codes can be typed for it."""
    return bool(Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists())


def is_required_of(user: User) -> bool:
    """Tell whether this account may do nothing of staff's without a second factor (STAFF_MFA)."""
    return settings.STAFF_MFA == "required" and (user.is_staff or user.is_superuser)


def is_owed(request: HttpRequest, user: User) -> bool:
    """Tell whether a member of staff has yet to pass, or to set up, a second factor."""
    return is_required_of(user) and not (is_on(user) and was_passed(request, user))


def was_passed(request: HttpRequest, user: User) -> bool:
    """Tell whether this session passed a second factor that the account has still."""
    records = get_authentication_records(request, user)
    passed = [record.get("id") for record in records if record.get("method") == "mfa"]
    return bool(Authenticator.objects.filter(user=user, pk__in=passed).exists())


def use_code(request: HttpRequest, *, user: User, code: str) -> Authenticator:
    """Use up a code of the authenticator app, or a recovery code, and return whose it was.

    Of two requests with one code one is refused. Every wrong one counts against the limit of wrong
    passwords, per account and per network address. Raises WrongCode and TooManyCodes.
    """
    attempt = limits.consume_code(request, str(user.pk))
    if attempt is None:
        raise TooManyCodes(limits.seconds_to_wait_for_code(request, str(user.pk)))
    with transaction.atomic():
        lock_account(user.pk)
        used = _use(user, code)
    if used is None:
        raise WrongCode
    attempt.rollback()
    return used


def remove(user_id: Any) -> bool:
    """Take every second factor and recovery code from an account. Returns whether there were any.

    For those who lost their devices, whose sessions and API tokens end with them: whoever does it
    has made sure who asks.
    """
    with transaction.atomic():
        lock_account(user_id)
        deleted, _ = Authenticator.objects.filter(user_id=user_id).delete()
        if deleted:
            AuthToken.objects.filter(user=user_id).delete()
            forget_other_sessions(user_id)
    return bool(deleted)


def _use(user: User, code: str) -> Authenticator | None:
    theirs = Authenticator.objects.filter(user=user).exclude(type=Authenticator.Type.WEBAUTHN)
    for authenticator in theirs.order_by("-type"):  # the app's before recovery codes
        if authenticator.type == Authenticator.Type.TOTP:
            is_right = _use_app_code(authenticator, code)
        else:
            is_right = authenticator.wrap().validate_code(code)
        if is_right:
            return Authenticator.objects.get(pk=authenticator.pk)  # as it is now
    return None


def _use_app_code(authenticator: Authenticator, code: str) -> bool:
    """Use up a code of the app. A step of time counts once, and never after a later one.

    allauth remembers codes in the cache, for less time than they are valid here.
    """
    secret = decrypt(authenticator.data["secret"])
    for step in totp.yield_hotp_counters_from_time():
        expected = totp.format_hotp_value(totp.hotp_value(secret, step))
        is_fresh = step > authenticator.data.get(_LAST_STEP, -1)
        if compare_user_code(actual=code, expected=expected) and is_fresh:
            # Sealed anew: a former SECRET_KEY is out of use once everybody has logged in.
            authenticator.data |= {_LAST_STEP: step, "secret": encrypt(secret)}
            authenticator.save(update_fields=["data"])
            return True
    return False


@receiver(post_save, sender=Authenticator, dispatch_uid="accounts.begin_second_factor")
def begin(sender: Any, instance: Authenticator, created: bool, **kwargs: Any) -> None:
    """End what was had without the new factor: API tokens, other sessions; and the code it took."""
    if not created or instance.type not in FACTORS:
        return
    with transaction.atomic():
        lock_account(instance.user_id)  # see services.issue_token
        AuthToken.objects.filter(user=instance.user_id).delete()
        forget_other_sessions(instance.user_id)
        if instance.type == Authenticator.Type.TOTP:
            instance.data[_LAST_STEP] = max(totp.yield_hotp_counters_from_time())
            instance.save(update_fields=["data"])


@receiver(authenticator_added, dispatch_uid="accounts.count_set_up_as_passed")
def count_as_passed(
    sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any
) -> None:
    """Count setting a factor up as passing it: a code or the key was asked for just now."""
    if authenticator.type in FACTORS:
        record_authentication(
            request, user, "mfa", id=authenticator.pk, type=authenticator.type, set_up=True
        )
