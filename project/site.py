"""The admin's site: unfold's, without what needs a looser policy or nobody looks for."""

import json
from typing import Any

import unfold.fields
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.sites import UnfoldAdminSite


class UsherAdminSite(UnfoldAdminSite):  # type: ignore[misc]  # unfold is not typed
    """Every list, form and page of staff."""

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Leave unfold's search out: it keeps each term in the cache. Lists search by index."""
        return [each for each in super().get_urls() if getattr(each, "name", "") != "search"]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what is wrong to those who may open the event monitor."""
        from project.alarms.watching import open_alarms  # models, which are not there yet
        from project.support import READ  # as this module is loaded

        alarms = open_alarms() if request.user.has_perms(READ) else []
        answer: HttpResponse = super().index(request, {"alarms": alarms, **(extra_context or {})})
        return answer

    def _get_colors(self, key: str, *args: Any) -> dict[str, dict[str, str]]:
        """Return none: they would be written into the page. static/admin.css has them."""
        return {}


def _as_text(data: Any, encoder: type[json.JSONEncoder] | None) -> SafeString:
    text = json.dumps(data, indent=2, ensure_ascii=False, cls=encoder)
    return format_html('<pre class="usher-json">{}</pre>', text)


# Unfold's colours JSON by styles in the page where pygments happens to be installed.
unfold.fields.prettify_json = _as_text
