"""Headers that tell browsers what a page may do. Each part of Usher has a policy of its own."""

from typing import Any

from csp.constants import NONE, SELF, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

_NOTHING = {
    "default-src": [NONE],
    "base-uri": [NONE],
    "form-action": [NONE],
    "frame-ancestors": [NONE],
}
PAGES = {
    "default-src": [SELF],
    "script-src": [SELF],
    "style-src": [SELF],
    "img-src": [SELF, "data:"],  # the arrows and ticks of Pico's fields
    "font-src": [SELF],
    "connect-src": [SELF],  # the page's own WebSocket, too (CSP 3: ws and wss of the same origin)
    "frame-src": [NONE],
    "worker-src": [NONE],
    "object-src": [NONE],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}
ADMIN = PAGES  # its theme needs no more: docs/adr/0025
# Swagger UI writes styles into the page as it goes; scripts are as strict as elsewhere.
API_DOCS = {**PAGES, "style-src": [SELF, UNSAFE_INLINE]}
# The first whose beginning fits counts.
POLICIES: tuple[tuple[str, dict[str, list[str]]], ...] = (
    ("/admin/", ADMIN),
    ("/api/docs/", API_DOCS),
    ("/api/", _NOTHING),  # data: nothing is to be loaded or run, should a browser show it
    ("/", PAGES),
)
_UNUSED = (
    "accelerometer",
    "autoplay",
    "camera",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "geolocation",
    "gyroscope",
    "hid",
    "idle-detection",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "picture-in-picture",
    "screen-wake-lock",
    "serial",
    "usb",
    "xr-spatial-tracking",
)
PERMISSIONS = ", ".join(f"{name}=()" for name in _UNUSED)


class HeadersMiddleware(CSPMiddleware):
    """Content-Security-Policy by address, Permissions-Policy, and who may load what is served."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Return the policy of the address, unless the view has one of its own."""
        parts = super().get_policy_parts(request, response, report_only)
        if not report_only and parts.config is None:
            parts.config = policy_of(request.path_info)
        return parts

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Add the headers that are missing."""
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return super().process_response(request, response)


def policy_of(path: str) -> dict[str, Any]:
    """Return what pages at an address may load, run, connect to and be framed by."""
    return next(policy for beginning, policy in POLICIES if path.startswith(beginning))
