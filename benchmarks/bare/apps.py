"""Connects the receivers."""

from importlib import import_module

from django.apps import AppConfig


class BareConfig(AppConfig):
    """Stands for any app; only benchmarks install it."""

    name = "benchmarks.bare"
    label = "bare"

    def ready(self) -> None:
        """Connect the receivers."""
        import_module("benchmarks.bare.receivers")
