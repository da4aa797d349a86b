from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Who people are: their account, their registration, who invited them."""

    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        """Connect and register what accounts declares; have old risk signals cleared daily."""
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

        schedule(
            "accounts.delete_expired_signals",
            "accounts.risk.delete_expired_signals",
            queue="accounts",
            every_minutes=24 * 60,
        )
