"""Connects the receivers of the way with events."""

from importlib import import_module

from django.apps import AppConfig


class FourWaysConfig(AppConfig):
    """Only this benchmark installs it."""

    name = "benchmarks.signup_four_ways"
    label = "fourways"

    def ready(self) -> None:
        """Connect the receivers."""
        import_module("benchmarks.signup_four_ways.events")
