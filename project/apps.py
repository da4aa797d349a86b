from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """The composition root: settings, pages that span apps, checks of the whole."""

    name = "project"

    def ready(self) -> None:
        """Register the checks; connect the receivers; register what must hold of checkouts."""
        from project import checks, explain, invariants, receivers  # noqa: F401
