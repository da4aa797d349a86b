from importlib import import_module

from django.apps import AppConfig


class ProbeConfig(AppConfig):
    """An app of the tests': a publisher and receivers whose behaviour rows can steer."""

    name = "tests.probe"
    label = "probe"

    def ready(self) -> None:
        import_module("tests.probe.receivers")
        import_module("tests.probe.sabotage").install()
        import_module("tests.probe.next_release").install()
