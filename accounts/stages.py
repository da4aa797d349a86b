"""Where a login may stop: allauth's stages, but for what they leave in the session."""

from typing import Any

from allauth.account.stages import EmailVerificationStage, LoginStage
from allauth.mfa.stages import AuthenticateStage

from accounts.adapter import forget_address


class _ForgetfulStage(LoginStage):  # type: ignore[misc]  # allauth is not typed
    """What is kept of a login that stops here is the account's id."""

    def handle(self) -> tuple[Any, bool]:
        """Stop, or go on, as allauth's does."""
        handled: tuple[Any, bool] = super().handle()
        forget_address(self.request.session)
        self.login.email = None  # it would be stored as well; any confirmed address will do
        return handled


class ConfirmAddressStage(_ForgetfulStage, EmailVerificationStage):  # type: ignore[misc]
    """Addresses that are to be confirmed first."""


class SecondFactorStage(_ForgetfulStage, AuthenticateStage):  # type: ignore[misc]
    """A code or a passkey after the password."""
