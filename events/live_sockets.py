"""The socket of an open page, at `/ws/live/`: who may connect, and what goes over it.

To the page go hints, `{"type": "coupons.coupon_issued", "id": …}`, in place of very many
`{"type": "live.look_again"}`, and a heartbeat. The page says nothing: what it wants to know it
asks for by HTTP.
"""

import json
import logging
from io import BytesIO
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.db import Error as DatabaseError

from events.live_follower import Follower, Refused, Socket

logger = logging.getLogger(__name__)

SESSION_ENDED = 4401  # close codes: from 4000 they are the application's
POLICY_VIOLATION = 1008
HEARTBEAT = json.dumps({"type": "live.heartbeat"})


def live_application() -> Any:
    """Return the ASGI application for the sockets of this process."""
    return LiveSocket.as_asgi(follower=Follower())


class LiveSocket(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels is not typed
    """One connection, from its handshake to its end."""

    def __init__(self, *, follower: Follower) -> None:
        super().__init__()
        self.follower = follower
        self.socket: Socket | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the connection; forget it, however it ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.socket:
                self.follower.leave(self.socket)

    async def connect(self) -> None:
        """Let in whoever is logged in, from our own pages alone. Others get 403."""
        request = _request(self.scope)
        try:
            _require_own_origin(request)
            session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
            self.socket = await self.follower.join(
                session_key=session_key, channel=self.channel_name
            )
        except (Refused, DisallowedHost) as refusal:
            logger.info("A socket was refused: %s", refusal)
            await self.close()
        except (DatabaseError, TimeoutError):
            logger.warning("A socket was refused: the database does not answer.")
            await self.close()
        else:
            await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """End a connection over which something is sent: our pages send nothing."""
        await self.close(POLICY_VIOLATION)

    async def live_hint(self, message: dict[str, Any]) -> None:
        """Pass a hint to the page."""
        await self.send(text_data=json.dumps(message["hint"]))

    async def live_heartbeat(self, message: dict[str, Any]) -> None:
        """Tell the page, and what is in between, that the connection lives."""
        await self.send(text_data=HEARTBEAT)

    async def live_end(self, message: dict[str, Any]) -> None:
        """End the connection of a session that has ended."""
        await self.close(SESSION_ENDED)


def _request(scope: dict[str, Any]) -> ASGIRequest:
    """Return the handshake as Django sees requests: host, scheme and cookies by its rules."""
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", "ws"), "http")
    http = {**scope, "method": "GET", "scheme": scheme, "query_string": b""}
    return ASGIRequest(http, BytesIO())


def _require_own_origin(request: ASGIRequest) -> None:
    """Raise Refused where another site's page connects: browsers send it our cookies too.

    The rule is that of Django's forms: the host that is asked, or one of CSRF_TRUSTED_ORIGINS.
    Raises DisallowedHost.
    """
    origin = request.headers.get("Origin", "")
    own = f"{request.scheme}://{request.get_host()}".lower()
    trusted = settings.CSRF_TRUSTED_ORIGINS
    if origin not in {own, *trusted} and not any(_is_below(origin, name) for name in trusted):
        raise Refused("Its page is another site's.")


def _is_below(origin: str, trusted: str) -> bool:
    """Tell whether an origin is a subdomain of one like https://*.example.com."""
    scheme, wildcard, domain = trusted.partition("://*")
    return bool(wildcard) and origin.startswith(f"{scheme}://") and origin.endswith(domain)
