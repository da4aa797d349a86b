"""Who calls the API: tokens, and the credentials one gets them for."""

from typing import cast

from allauth.account.adapter import get_adapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from knox.auth import TokenAuthentication as KnoxTokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework.authentication import SessionAuthentication as DRFSessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.request import Request

from accounts import limits, second_factor, services, verification
from accounts.models import User


class TokenAuthentication(KnoxTokenAuthentication):  # type: ignore[misc]  # knox is not typed
    """knox's `Authorization: Token …`, in one query that only reads, and safe from odd bytes."""

    def authenticate_credentials(self, token: bytes) -> tuple[User, AuthToken]:
        """Return the account and its token. Raises AuthenticationFailed (401)."""
        found = _find_token(token)
        if found is None or not found.user.is_active:
            raise AuthenticationFailed(
                _("This token is not valid. Get a new one."), code="invalid_token"
            )
        if second_factor.is_required_of(found.user) and not second_factor.is_on(found.user):
            raise second_factor_required()  # had before this was required of staff
        return found.user, found


class SessionAuthentication(DRFSessionAuthentication):
    """Django's sessions and their CSRF token; a member of staff's after the factor it owes."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """Return whose session it is, if anybody's. Raises AuthenticationFailed (401)."""
        found = super().authenticate(request)
        if found is None:
            return None
        user = cast(User, found[0])
        if second_factor.is_owed(request._request, user):
            raise second_factor_required()
        return user, None


def require_within_limit(request: Request, action: str) -> None:
    """Count this request with those of the page. Raises Throttled (429)."""
    if not limits.consume(request._request, action):
        raise Throttled(wait=limits.seconds_to_wait(request._request, action))


def authenticate(request: HttpRequest, *, email: str, password: str) -> User:
    """Return whose credentials these are, if they may have a token.

    Raises AuthenticationFailed (401), PermissionDenied (403) or Throttled (429). Unknown addresses,
    wrong passwords and closed accounts take the same time and get the same answer.
    """
    user = _check_password(request, email, password)
    if user is None or not user.is_active:
        raise invalid_credentials()
    if services.verification_is_mandatory() and not verification.is_verified(user):
        verification.send_link(request, user)
        raise PermissionDenied(
            _("Confirm your e-mail address first. We have sent you a link."),
            code="email_unverified",
        )
    services.complete_waiting_registration(user=user)
    return user


def pass_second_factor(request: HttpRequest, *, user: User, code: str) -> bool:
    """Check the code of an account that has a second factor. Returns whether it has one.

    Raises AuthenticationFailed (401), PermissionDenied (403) or Throttled (429).
    """
    if not second_factor.is_on(user):
        if second_factor.is_required_of(user):
            raise PermissionDenied(
                _("Staff need a second factor here. Set one up on the page of your account first."),
                code="mfa_setup_required",
            )
        return False
    if not second_factor.takes_codes(user):
        raise PermissionDenied(
            _(
                "This account logs in with a passkey, which no token can be had for. Log in to the "
                "page, or set up an authenticator app there."
            ),
            code="mfa_sessions_only",
        )
    if not code.strip():
        raise second_factor_required()
    try:
        second_factor.use_code(request, user=user, code=code)
    except second_factor.WrongCode:
        raise AuthenticationFailed(
            _("This code is not right, or it was used before."), code="mfa_invalid"
        ) from None
    except second_factor.TooManyCodes as refusal:
        raise Throttled(wait=refusal.seconds) from None
    return True


def second_factor_required() -> AuthenticationFailed:
    """Return the answer to a login that lacks its second factor (401)."""
    return AuthenticationFailed(
        _("This account needs its second factor, too."), code="mfa_required"
    )


def invalid_credentials() -> AuthenticationFailed:
    """Return the answer to credentials that open no account (401)."""
    return AuthenticationFailed(
        _("The e-mail address or the password is not right."), code="invalid_credentials"
    )


def is_own_password(request: HttpRequest, *, user: User, password: str) -> bool:
    """Tell whether this is the password of whoever is logged in. Wrong ones count as at a login.

    Raises Throttled (429) after too many.
    """
    return _check_password(request, user.email, password) == user


def _check_password(request: HttpRequest, email: str, password: str) -> User | None:
    adapter = get_adapter()
    try:
        user: User | None = adapter.authenticate(request, email=email, password=password)
    except ValidationError:  # too many failed attempts; the only one it raises
        key = adapter.login_attempts_key(request, email)
        raise Throttled(wait=limits.seconds_to_wait(request, "login_failed", key)) from None
    return user


def _find_token(token: bytes) -> AuthToken | None:
    try:
        digest = hash_token(token.decode("ascii"))
    except UnicodeDecodeError:
        return None
    found = AuthToken.objects.select_related("user").filter(digest=digest).first()
    if found is None or (found.expiry is not None and found.expiry <= timezone.now()):
        return None
    return found
