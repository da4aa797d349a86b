"""No more of a body is read than the limit, whether or not the client says how long it is."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.test import Client

from project.bodies import BodyLimit, Message, Receive, Send

API_LIMIT = 64 * 1024
URL = "/api/v1/nested/"

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.project.failing_urls"),
]


class Exchange:
    """One request to the ASGI application, as a server would hand it over."""

    def __init__(self, chunks: Iterable[bytes], *, length: int | None, hang_up: bool = False):
        self.chunks = iter(chunks)
        self.hang_up = hang_up
        self.is_complete = False
        self.taken = 0
        self.sent: list[Message] = []
        self.headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
        if length is not None:
            self.headers.append((b"content-length", str(length).encode()))

    async def receive(self) -> Message:
        """Hand over the next chunk."""
        await asyncio.sleep(0)  # as a server does, where the network must be waited for
        if chunk := next(self.chunks, b""):
            self.taken += len(chunk)
            return {"type": "http.request", "body": chunk, "more_body": True}
        if self.hang_up:
            return {"type": "http.disconnect"}
        if self.is_complete:
            await asyncio.Event().wait()  # nothing comes any more
        self.is_complete = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        """Keep what is answered."""
        self.sent.append(message)

    def run(self, path: str = URL, application: Any = None) -> None:
        """Make the request to Usher, or to another application behind the limit."""
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": self.headers,
        }
        django: Any = ASGIHandler()
        limited = BodyLimit(application or django)
        asyncio.run(limited(scope, self.receive, self.send))

    def run_to_look(self) -> list[Message]:
        """Return what an application behind the limit receives first."""
        received = []

        async def application(scope: Message, receive: Receive, send: Send) -> None:
            received.append(await receive())

        self.run(application=application)
        return received

    @property
    def status(self) -> int:
        """Return the status of the answer."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def answer(self) -> Any:
        """Return the JSON of the answer."""
        return json.loads(b"".join(message.get("body", b"") for message in self.sent[1:]))


def test_a_chunked_body_is_understood() -> None:
    exchange = Exchange([b'{"lines": [{"amo', b'unt": 1}]}'], length=None)

    exchange.run()

    assert (exchange.status, exchange.answer) == (200, {"lines": [{"amount": 1}]})


def test_an_endless_body_is_refused() -> None:
    exchange = Exchange((b"x" * 8192 for _ in iter(int, 1)), length=None)

    exchange.run()

    assert (exchange.status, exchange.answer["code"]) == (413, "body_too_large")


def test_a_body_that_is_announced_too_large_is_refused() -> None:
    exchange = Exchange([b"x" * 8192] * 9, length=9 * 8192)

    exchange.run()

    assert (exchange.status, exchange.answer["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("length", "handed_on", "most_taken"),
    [(None, API_LIMIT + 1, API_LIMIT + 8192), (10**9, 0, 0)],
)
def test_of_a_large_body_no_more_is_taken_than_must_be(
    length: int | None, handed_on: int, most_taken: int
) -> None:
    exchange = Exchange((b"x" * 8192 for _ in iter(int, 1)), length=length)

    [message] = exchange.run_to_look()

    assert (len(message["body"]), message["more_body"]) == (handed_on, False)
    assert exchange.taken <= most_taken


def test_a_body_within_the_limit_is_passed_on() -> None:
    body = b'{"lines": [{"amount": 1}]}'
    exchange = Exchange([body], length=len(body))

    exchange.run()

    assert exchange.status == 200


def test_a_client_that_hangs_up_half_way_has_sent_nothing() -> None:
    exchange = Exchange([b'{"lines": []'], length=None, hang_up=True)

    exchange.run()

    assert exchange.sent == []


def test_a_page_takes_forms_beyond_the_limit_of_the_api() -> None:
    exchange = Exchange([b"x" * 8192] * 10, length=None)

    exchange.run("/form/")

    assert exchange.status == 403  # it was read; only the form's token is missing


@pytest.mark.parametrize(("path", "size"), [(URL, API_LIMIT + 1), ("/form/", 3_000_000)])
def test_a_body_that_is_too_large_also_without_asgi(client: Client, path: str, size: int) -> None:
    answer = client.post(path, b"x" * size, content_type="application/json")

    assert answer.status_code == 413
    assert b"Traceback" not in answer.content
    is_api = path.startswith("/api/")
    assert answer["Content-Type"].startswith("application/problem+json" if is_api else "text/html")
