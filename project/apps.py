from django.apps import AppConfig

DAY_MINUTES = 24 * 60


class ProjectConfig(AppConfig):
    """The composition root: settings, pages that span apps, checks of the whole."""

    name = "project"

    def ready(self) -> None:
        """Register checks, invariants, audits; connect receivers; declare what is done daily."""
        from events.queue import schedule
        from project import audits, checks, explain, invariants, receivers  # noqa: F401

        for name, function in (
            ("events.reconcile_daily", "events.operations.reconcile.reconcile_daily"),
            ("api.prune_answers", "api.idempotency.prune_answers"),
        ):
            schedule(name, function, queue="project", every_minutes=DAY_MINUTES)
