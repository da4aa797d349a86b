"""How the admin looks: settings of unfold. Its colours are in static/admin.css, not in the page."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _


def mark(request: HttpRequest) -> str:
    """Return the address of Usher's mark."""
    return static("mark.svg")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": _("Usher"),
    "SITE_HEADER": _("Usher"),
    "SITE_ICON": mark,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": mark}],
    "SHOW_LANGUAGES": True,
    "SIDEBAR": {"navigation": "project.navigation.sidebar"},
}
