"""The admin's site: unfold's, without what needs a looser policy or nobody looks for."""

from typing import Any

from django.urls import URLPattern, URLResolver
from unfold.sites import UnfoldAdminSite


class UsherAdminSite(UnfoldAdminSite):  # type: ignore[misc]  # unfold is not typed
    """Every list, form and page of staff."""

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Leave unfold's search out: it keeps each term in the cache. Lists search by index."""
        return [each for each in super().get_urls() if getattr(each, "name", "") != "search"]

    def _get_colors(self, key: str, *args: Any) -> dict[str, dict[str, str]]:
        """Return none: they would be written into the page. static/admin.css has them."""
        return {}
