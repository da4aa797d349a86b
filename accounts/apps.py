from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Who people are: their account, their registration, who invited them."""

    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        """Connect and register what accounts declares; have what is over cleared daily."""
        from accounts import (  # noqa: F401
            checks,
            explain,
            export,
            invariants,
            receivers,
            schema,
            second_factor,
            signals,
        )
        from events.queue import schedule

        for name, function in (
            ("accounts.delete_expired_signals", "accounts.risk.delete_expired_signals"),
            ("accounts.forget_ended_sessions", "accounts.sessions.forget_ended_sessions"),
        ):
            schedule(name, function, queue="accounts", every_minutes=24 * 60)
