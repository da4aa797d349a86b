from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EventsConfig(AppConfig):
    """The event backbone: declare, record, deliver, operate. It knows no other app."""

    name = "events"
    verbose_name = _("Events")

    def ready(self) -> None:
        """Register the system checks and the invariants."""
        import_module("events.checks")
        import_module("events.operations.backbone_invariants")
