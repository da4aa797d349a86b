"""Who calls the API: tokens, and the credentials one gets them for."""

from allauth.account.adapter import get_adapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from knox.auth import TokenAuthentication as KnoxTokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.request import Request

from accounts import limits, services, verification
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
        return found.user, found


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
