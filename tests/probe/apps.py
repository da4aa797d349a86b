from importlib import import_module

from django.apps import AppConfig

INSTALLED = (
    "tests.probe.sabotage",
    "tests.probe.next_release",
    "tests.probe.hurry",
    "tests.faults.crashpoints",
    "tests.faults.bugs",
)


class ProbeConfig(AppConfig):
    """An app of the tests': a publisher and receivers whose behaviour rows can steer."""

    name = "tests.probe"
    label = "probe"

    def ready(self) -> None:
        import_module("tests.probe.receivers")
        for name in INSTALLED:
            import_module(name).install()
