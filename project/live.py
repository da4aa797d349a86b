"""Where open pages connect to hear what is new."""

from typing import Any

from channels.routing import URLRouter
from channels.security.websocket import WebsocketDenier
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.urls import get_script_prefix, path, re_path

from events.live_sockets import live_application

PATH = "ws/live/"


def sockets() -> Any:
    """Return the ASGI application for WebSockets. Any other address is refused."""
    return URLRouter([path(PATH, live_application()), re_path("", WebsocketDenier.as_asgi())])


def socket_path(request: HttpRequest) -> str:
    """Return where this page connects; empty on a server that has no sockets (project.wsgi)."""
    return f"{get_script_prefix()}{PATH}" if isinstance(request, ASGIRequest) else ""
