from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CouponsConfig(AppConfig):
    """Campaigns and the coupons they issue."""

    name = "coupons"
    verbose_name = _("Coupons")

    def ready(self) -> None:
        """Connect the receivers and the schedule; register invariants, audits and what is told."""
        from coupons.forgetting import EVERY_MINUTES
        from events.queue import schedule

        import_module("coupons.receivers")
        import_module("coupons.invariants")
        import_module("coupons.audits")
        import_module("coupons.explain")
        import_module("coupons.export")
        schedule(
            "coupons.forget_old_lines",
            "coupons.forgetting.forget_old_lines",
            queue="coupons",
            every_minutes=EVERY_MINUTES,
        )
