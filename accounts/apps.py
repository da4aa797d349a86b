from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Who people are: their account, their registration, who invited them."""

    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        """Declare the events; connect the receivers, the checks, the invariants, the tellers."""
        from accounts import (  # noqa: F401
            checks,
            explain,
            export,
            invariants,
            receivers,
            schema,
            signals,
        )
