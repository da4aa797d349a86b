from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PointsConfig(AppConfig):
    """Rewards for inviting people, and the ledger they are kept in."""

    name = "points"
    verbose_name = _("Points")

    def ready(self) -> None:
        """Connect the receivers; register the invariants, and what `explain` tells."""
        import_module("points.receivers")
        import_module("points.invariants")
        import_module("points.explain")
