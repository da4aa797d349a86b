from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Who people are: their account, their registration, who invited them."""

    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        """Declare the events; register the checks, the invariants, and what `explain` tells."""
        from accounts import checks, explain, invariants, signals  # noqa: F401
