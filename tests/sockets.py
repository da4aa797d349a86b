"""Open pages for tests: the sockets of people who are logged in, without a server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.conf import settings
from django.test import Client

from accounts.models import User

P = ParamSpec("P")
R = TypeVar("R")

PATH = "/ws/live/"
HOST = "testserver"
ORIGIN = f"http://{HOST}"
WITHIN_S = 30  # a hang, not a target


class Page:
    """A page's socket. channels.testing has the like, but needs the server Daphne."""

    def __init__(
        self,
        application: Any,
        session_key: str = "",
        *,
        path: str = PATH,
        origin: str | None = ORIGIN,
        host: str = HOST,
    ) -> None:
        headers = [(b"host", host.encode())]
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        if session_key:
            cookie = f"{settings.SESSION_COOKIE_NAME}={session_key}"
            headers.append((b"cookie", cookie.encode()))
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers}
        self._server: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]

    async def is_accepted(self) -> bool:
        """Connect, and tell whether that was accepted. A refused page leaves at once."""
        await self._server.send_input({"type": "websocket.connect"})
        answer = await self._server.receive_output(WITHIN_S)
        if answer["type"] == "websocket.accept":
            return True
        assert answer["type"] == "websocket.close", answer
        await self.leave()
        return False

    async def say(self, text: str) -> None:
        """Send something."""
        await self._server.send_input({"type": "websocket.receive", "text": text})

    async def next_hint(self) -> dict[str, str]:
        """Return the next thing that the page is told."""
        answer = await self._server.receive_output(WITHIN_S)
        assert answer["type"] == "websocket.send", answer
        hint: dict[str, str] = json.loads(answer["text"])
        return hint

    async def hears_nothing(self) -> bool:
        """Tell whether nothing has been sent so far that was not read."""
        return bool(await self._server.receive_nothing())

    async def close_code(self) -> int:
        """Return with what code the page is cut off; what it is told before is passed over."""
        while (answer := await self._server.receive_output(WITHIN_S))["type"] == "websocket.send":
            pass
        assert answer["type"] == "websocket.close", answer
        code: int = answer["code"]
        await self.leave()
        return code

    async def leave(self) -> None:
        """Close the page."""
        await self._server.send_input({"type": "websocket.disconnect", "code": 1001})
        await self._server.wait(WITHIN_S)


async def opened(application: Any, session_key: str) -> Page:
    """Return the page of somebody who is let in."""
    page = Page(application, session_key)
    assert await page.is_accepted()
    return page


def session_of(user: User) -> str:
    """Log somebody in and return the key of their session."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that asks the database."""
    run = database_sync_to_async(function, thread_sensitive=False)
    result: R = await run(*args, **kwargs)
    return result


def run(scenario: Callable[[], Awaitable[R]]) -> R:
    """Run a scenario in an event loop of its own."""

    async def main() -> R:
        return await scenario()

    return asyncio.run(main())
