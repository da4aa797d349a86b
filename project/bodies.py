"""How much of a request's body is read, whether or not the client says its length."""

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from project import failures
from project.api.problems import API_PREFIX

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


def limit_of(path: str) -> int:
    """Return the most bytes that are read from the body of a request to `path`."""
    if path.startswith(API_PREFIX):
        return settings.API_MAX_BODY_BYTES
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0


class BodyLimitMiddleware:
    """Refuse a request whose Content-Length is beyond the limit: 413, before anything reads it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        declared = request.META.get("CONTENT_LENGTH") or "0"
        if declared.isdecimal() and int(declared) > limit_of(request.path):
            return failures.page(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self.get_response(request)


class BodyLimit:
    """ASGI: hand on at most one byte beyond the limit, always with its length.

    Django would write a body of any size to disk before the first middleware sees it, and DRF
    takes one without Content-Length (a chunked one) for empty. `BodyLimitMiddleware` refuses.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.application(scope, receive, send)
        limit = limit_of(scope["path"])
        declared = dict(scope["headers"]).get(b"content-length")
        if declared is None:
            body = await _read(receive, limit + 1)
            if body is None:
                return None  # the client has gone, half-way
            length = (b"content-length", str(len(body)).encode())
            scope = {**scope, "headers": [*scope["headers"], length]}
        elif declared.isdigit() and int(declared) > limit:
            body = b""
        else:
            return await self.application(scope, receive, send)
        return await self.application(scope, _replaying(body, receive), send)


async def _read(receive: Receive, most: int) -> bytes | None:
    """Return the body, or so much of it that it is `most` bytes. None if the client hangs up."""
    body, more = b"", True
    while more and len(body) < most:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body[:most]


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that tells of this body, then of nothing but the client's leaving."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        if messages:
            return messages.pop()
        while (message := await receive())["type"] == "http.request":
            pass  # the rest of a body that was cut off
        return message

    return replay
