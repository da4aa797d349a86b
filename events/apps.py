from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EventsConfig(AppConfig):
    """The event backbone: declare, record, deliver, operate. It knows no other app."""

    name = "events"
    verbose_name = _("Events")

    def ready(self) -> None:
        """Register the system checks and the invariants, and what the sweep does besides."""
        from events.delivery.chores import chore

        import_module("events.checks")
        import_module("events.operations.backbone_invariants")
        operations = "events.operations"
        plan = "events.delivery.broker.plan_due_calls"
        chore("events.plan_due_calls", plan, every_s=30)
        chore("events.advance_interventions", f"{operations}.staged.advance_all", every_s=1)
        chore("events.note_minutes", f"{operations}.minutes.note", every_s=10)
        chore("events.note_worker", f"{operations}.workers.note", every_s=5)
