"""Where a login may stop: allauth's stage for addresses that are to be confirmed first."""

from typing import Any

from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.stages import EmailVerificationStage
from django.contrib.sessions.backends.base import SessionBase


class ConfirmAddressStage(EmailVerificationStage):  # type: ignore[misc]  # allauth is not typed
    """allauth's, but for what a login that stops here leaves in the session."""

    def handle(self) -> tuple[Any, bool]:
        """Send the link and stop, or go on. What is kept of the login is the account's id."""
        handled: tuple[Any, bool] = super().handle()
        forget_address(self.request.session)
        self.login.email = None  # it would be stored as well; any confirmed address will do
        return handled


def forget_address(session: SessionBase) -> None:
    """Take out what was typed, which allauth notes when a password was right.

    Nobody can find the sessions of an account to take its address out when it is closed.
    """
    records = session.get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    session[AUTHENTICATION_METHODS_SESSION_KEY] = [
        {name: value for name, value in record.items() if name != "email"} for record in records
    ]
