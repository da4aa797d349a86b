from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Who people are: their account, their registration, who invited them."""

    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        """Declare the events; connect the receivers, the checks, the invariants, the tellers."""
        from accounts import checks, explain, export, invariants, receivers, signals  # noqa: F401
