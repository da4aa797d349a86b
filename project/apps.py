from django.apps import AppConfig

DAY_MINUTES = 24 * 60


class ProjectConfig(AppConfig):
    """The composition root: settings, pages that span apps, checks of the whole."""

    name = "project"
    verbose_name = "Usher"

    def ready(self) -> None:
        """Register checks, invariants, audits; connect receivers; declare what is done daily."""
        from events.delivery.chores import chore
        from events.operations.daily import EVERY_MINUTES
        from events.operations.prune import prunes
        from events.queue import schedule
        from project import (  # noqa: F401
            audits,
            checks,
            explain,
            export,
            invariants,
            receivers,
        )
        from project.alarms import receivers as alarm_receivers  # noqa: F401
        from project.alarms.watching import ended_alarms
        from project.mails import receivers as mail_receivers  # noqa: F401
        from project.observing import checks as observing_checks  # noqa: F401
        from project.observing import starting

        starting.start()
        prunes("alarms", ended_alarms)

        for name, function, every_minutes in (
            # A look a day, in slices: see there.
            ("events.reconcile_daily", "events.operations.daily.reconcile_daily", EVERY_MINUTES),
            ("api.prune_answers", "api.idempotency.prune_answers", DAY_MINUTES),
        ):
            schedule(name, function, queue="project", every_minutes=every_minutes)
        chore("project.watch_alarms", "project.alarms.watching.watch", every_s=10)
