"""Where a login may stop: allauth's stage for addresses that are to be confirmed first."""

from typing import Any

from allauth.account.stages import EmailVerificationStage

from accounts.adapter import forget_address


class ConfirmAddressStage(EmailVerificationStage):  # type: ignore[misc]  # allauth is not typed
    """allauth's, but for what a login that stops here leaves in the session."""

    def handle(self) -> tuple[Any, bool]:
        """Send the link and stop, or go on. What is kept of the login is the account's id."""
        handled: tuple[Any, bool] = super().handle()
        forget_address(self.request.session)
        self.login.email = None  # it would be stored as well; any confirmed address will do
        return handled
