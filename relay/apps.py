from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RelayConfig(AppConfig):
    """Events leave the house, and answers come back in."""

    name = "relay"
    verbose_name = _("Relay")

    def ready(self) -> None:
        """Connect the receivers; register checks, invariants, `explain`; time out risk checks,
        and forget old message ids.

        Last of the apps with events: what is declared by now is what can be relayed.
        """
        import_module("relay.receivers")
        import_module("relay.checks")
        import_module("relay.invariants")
        import_module("relay.explain")
        import_module("relay.channels")
        schedule = import_module("events.queue").schedule
        schedule(
            "relay.time_out_checks",
            "relay.risk_checks.time_out_checks",
            queue="relay",
            every_minutes=1,
        )
        schedule(
            "relay.prune_received",
            "relay.inbox.prune_received",
            queue="relay",
            every_minutes=60,
        )
