from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """The composition root: settings, pages that span apps, checks of the whole."""

    name = "project"

    def ready(self) -> None:
        """Register the checks; declare the daily look at what events brought about."""
        from events.queue import schedule
        from project import checks  # noqa: F401

        schedule(
            "events.reconcile_daily",
            "events.operations.reconcile.reconcile_daily",
            queue="coupons",
            every_minutes=24 * 60,
        )
