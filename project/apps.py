from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """The composition root: settings, pages that span apps, checks of the whole."""

    name = "project"

    def ready(self) -> None:
        """Register the checks."""
        from project import checks  # noqa: F401
