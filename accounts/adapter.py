"""allauth's hooks: our rules for addresses, passwords, confirmations, mails and callers."""

import logging
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts import browsers, emails, proxies, second_factor, services, validators
from accounts.locks import lock_with_inviter
from accounts.models import User
from accounts.standing import AccountIsClosed

logger = logging.getLogger(__name__)

_LINKS = ("activate_url", "password_reset_url", "signup_url")


# By path: allauth's stages ask for the adapter while they are imported.
_OUR_STAGES = {
    "allauth.account.stages.EmailVerificationStage": "accounts.stages.ConfirmAddressStage",
    "allauth.mfa.stages.AuthenticateStage": "accounts.stages.SecondFactorStage",
}


def forget_address(session: SessionBase) -> None:
    """Take out what was typed, which allauth notes when a password was right.

    Nobody can find the sessions of an account to take its address out when it is closed.
    """
    records = session.get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    session[AUTHENTICATION_METHODS_SESSION_KEY] = [
        {name: value for name, value in record.items() if name != "email"} for record in records
    ]


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is not typed
    """What Usher does differently from allauth."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_taken": _("An account with this e-mail address already exists. Log in instead."),
        "email_password_mismatch": _("The e-mail address or the password is not right."),
        "too_many_login_attempts": _(
            "Too many failed attempts. Wait a few minutes, then try again."
        ),
    }

    def clean_email(self, email: str) -> str:
        """Return the address as it is stored. Raises ValidationError."""
        return emails.clean_email(email)

    def clean_password(self, password: str, user: Any = None) -> str:
        """Return the new password exactly as typed. Raises ValidationError."""
        validators.validate_new_password(password, user)
        return password

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Check credentials; every spelling of an address is the same address."""
        if email := credentials.get("email"):
            credentials["email"] = emails.fold_email(email)
        user: User | None = super().authenticate(request, **credentials)
        return user

    def login_attempts_key(self, request: HttpRequest, email: str) -> str:
        """Return what failed attempts with this address are counted under."""
        return self._get_login_attempts_cache_key(request, email=email)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        # allauth puts the host in front, and a client chooses the port in that.
        return emails.fold_email(credentials.get("email") or credentials.get("username") or "")

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Confirm an address and complete the sign-up that waited for it, all or nothing.

        Two clicks at once confirm once. An address another account has meanwhile is refused.
        """
        try:
            with transaction.atomic():
                lock_with_inviter(email_address.user_id)
                email_address.refresh_from_db()
                if email_address.verified:
                    return True
                confirmed = bool(super().confirm_email(request, email_address))
                if confirmed:
                    services.complete_registration(user_id=email_address.user_id)
                return confirmed
        except IntegrityError:
            email_address.verified = False
            messages.error(request, _("This address belongs to another account now."))
            return False

    def get_login_stages(self) -> list[str]:
        """Return the paths of the stages of a login, ours in the place of allauth's."""
        return [_OUR_STAGES.get(path, path) for path in super().get_login_stages()]

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, Any]]:
        """Return the ways to show once more who one is: with a second factor, that alone.

        Else whoever has the password and a session could turn the factor off. The page of the
        password leads on where it is not among these.
        """
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        if user.is_anonymous or not second_factor.is_on(user):
            return methods
        return [method for method in methods if method["id"] != "reauthenticate"]

    def login(self, request: HttpRequest, user: User) -> None:
        """Log in. A sign-up that waits although nothing is to be waited for is completed."""
        super().login(request, user)
        forget_address(request.session)
        services.complete_waiting_registration(user=user)

    def set_password(self, user: User, password: str) -> None:
        """Store a new password, which ends the tokens of the old one.

        Whose account was closed since the page was opened is told so, and led to the login.
        """
        try:
            services.set_password(user=user, password=password)
        except AccountIsClosed as refusal:
            messages.error(self.request, str(refusal))
            raise ImmediateHttpResponse(redirect("account_login")) from None

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's address; X-Forwarded-For counts only from TRUSTED_PROXIES."""
        peer = request.META.get("REMOTE_ADDR", "")
        if not proxies.is_trusted(peer):
            client: str = super().get_client_ip(request)
            return client
        return proxies.nearest_client(request.headers.get("X-Forwarded-For", ""), peer)

    def format_email_subject(self, subject: str) -> str:
        """Return the subject as it is: the sender's name says where it comes from."""
        return subject

    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        """Tell a person what was changed about logging in, and from which browser, once it is."""
        told = {
            "browser": browsers.describe(self.get_http_user_agent(self.request)),
            "password_reset_url": reverse("account_reset_password"),
            **(context or {}),
        }
        send = super().send_notification_mail
        transaction.on_commit(lambda: send(template_prefix, user, told, email))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail whose links begin with PUBLIC_URL, whatever host the request named.

        The change it speaks of is committed already, so a mail server that is down is logged and
        told to the person, never an error page.
        """
        links = {name: _public(context[name]) for name in _LINKS if name in context}
        site = SimpleNamespace(name="Usher", domain=urlsplit(settings.PUBLIC_URL).netloc)
        try:
            super().send_mail(template_prefix, email, {**context, **links, "current_site": site})
        except OSError as error:
            # Only the class: a mail server's sentence quotes the address.
            logger.error("Mail %r was not sent: %s.", template_prefix, type(error).__name__)
            if self.request and not self.is_ajax(self.request):
                messages.warning(self.request, _("We could not send an e-mail. Try again later."))


def _public(url: str) -> str:
    public, given = urlsplit(str(settings.PUBLIC_URL)), urlsplit(url)
    return urlunsplit((public.scheme, public.netloc, given.path, given.query, ""))
