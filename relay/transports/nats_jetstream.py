"""NATS JetStream: nats://user@host:4222?subject=PREFIX, or nats+tls://. The stream is theirs.

The subject is PREFIX.TYPE, the type without its version, and the event's id the message's
(Nats-Msg-Id), so that a stream takes what is repeated within its window of duplicates only once.
A message counts when a stream has acknowledged it. (https://docs.nats.io/nats-concepts/jetstream)

The headers `ce-…` are those of binary mode in the draft of CloudEvents 1.0.3; 1.0.2 has none.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import nats
from django.utils.translation import gettext as _
from nats.errors import Error, NoServersError, SecureConnWantedError
from nats.js.errors import APIError, NoStreamResponseError

from relay.loops import CheckedLoop, Results, close_quickly, publish_side_by_side, send_within
from relay.transport import BadURL, Destination, Failed, Message, Result, bracketed, options, tls

SCHEMES = ("nats", "nats+tls")
DEFAULT_PORT = 4222
DEFAULT_SUBJECT = "usher"
CONNECT_S = 5
ANSWER_S = 5.0

_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")


def check(url: SplitResult) -> None:
    """Refuse what is no place in a NATS. Raises BadURL."""
    if url.path.strip("/"):
        raise BadURL(_("Name a subject by ?subject=, not by a path."))
    if not _SUBJECT.fullmatch(_prefix(url)):
        raise BadURL(_("A subject is words with dots between them, without * and >."))


def send(destination: Destination, batch: Sequence[Message]) -> list[Result]:
    """Publish the messages side by side; the stream acknowledges each."""
    return send_within(urlsplit(destination.url), batch, _publish_all, errors=(Error,))


async def _publish_all(url: SplitResult, batch: Sequence[Message], results: Results) -> None:
    client = await _connected(url)
    stream, prefix = client.jetstream(), _prefix(url)

    async def publish(message: Message) -> Result:
        headers = {
            "Nats-Msg-Id": message.id,
            "Content-Type": "application/cloudevents+json",
            **message.percent_encoded_headers("ce-"),
        }
        subject = f"{prefix}.{message.type}"
        try:
            await stream.publish(subject, message.body, timeout=ANSWER_S, headers=headers)
        except NoStreamResponseError:
            return Failed(text=f"No stream takes the subject {subject}.")
        except APIError as error:
            return Failed(text=f"The stream refused: {error}")
        return None

    try:
        await publish_side_by_side(publish, batch, results)
    finally:
        await close_quickly(client.close)


async def _connected(url: SplitResult) -> Any:
    """Return a client. Raises nats.errors.Error, and OSError."""
    failures: list[Exception] = []

    async def note(error: Exception) -> None:
        failures.append(error)

    try:
        client = await nats.connect(
            f"nats://{bracketed(url.hostname or '')}:{url.port or DEFAULT_PORT}",
            name="usher",
            error_cb=note,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S,
            tls=tls(),  # used where the server asks for it
            **_login(url),
        )
    except NoServersError as error:
        raise (failures[-1] if failures else error) from None
    _require_encrypted(url)
    return client


def _login(url: SplitResult) -> dict[str, Callable[[], str]]:
    """Return who we are: a user with a password, or a token, which is a password without a user."""

    def told(text: str | None) -> Callable[[], str]:
        def tell() -> str:
            _require_encrypted(url)
            return unquote(text or "")

        return tell

    if url.username:
        return {"user": told(url.username), "password": told(url.password)}
    return {"token": told(url.password)} if url.password else {}


def _require_encrypted(url: SplitResult) -> None:
    """Say nothing to a server that asks for no TLS where the URL does."""
    loop = asyncio.get_running_loop()
    if url.scheme == "nats+tls" and not (isinstance(loop, CheckedLoop) and loop.is_encrypted):
        raise SecureConnWantedError


def _prefix(url: SplitResult) -> str:
    return options(url, subject=DEFAULT_SUBJECT)["subject"]
