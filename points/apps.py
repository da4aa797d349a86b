from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PointsConfig(AppConfig):
    """Rewards for inviting people, and the ledger they are kept in."""

    name = "points"
    verbose_name = _("Points")

    def ready(self) -> None:
        """Connect the receivers and the schedule; register invariants, audits, teller, export."""
        from events.queue import schedule
        from points.due import EVERY_MINUTES

        import_module("points.receivers")
        import_module("points.invariants")
        import_module("points.audits")
        import_module("points.explain")
        import_module("points.export")
        schedule(
            "points.settle_due",
            "points.due.settle_due",
            queue="points",
            every_minutes=EVERY_MINUTES,
        )
