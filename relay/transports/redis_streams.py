"""Redis or Valkey streams: redis://user@host:6379/0?stream=NAME&maxlen=100000, rediss:// with TLS.

An entry counts when the server has answered its XADD; how well it is kept from then on is for the
server's settings to say (appendonly, appendfsync). The stream is capped at about `maxlen` entries.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import redis.asyncio as redis
from django.utils.translation import gettext as _
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from relay.loops import Results, close_quickly, send_within
from relay.transport import BadURL, Destination, Failed, Message, Result, options

SCHEMES = ("redis", "rediss")
DEFAULT_PORT = 6379
DEFAULT_STREAM = "usher"
DEFAULT_MAXLEN = 100_000
TIMEOUT_S = 5.0  # to connect, and for an answer


def check(url: SplitResult) -> None:
    """Refuse what is no place in a Redis. Raises BadURL."""
    if not url.path.strip("/").isdecimal() and url.path.strip("/"):
        raise BadURL(_("The path is the number of a database, such as /0."))
    maxlen = _options(url)["maxlen"]
    if not (maxlen.isascii() and maxlen.isdecimal() and int(maxlen) > 0):
        raise BadURL(_("maxlen is a whole number from 1."))


def send(destination: Destination, batch: Sequence[Message]) -> list[Result]:
    """Add the messages in one go; the server answers for each."""
    # Of what breaks off some may have arrived, and comes again: at least once.
    return send_within(urlsplit(destination.url), batch, _add_all, errors=(redis.RedisError,))


async def _add_all(url: SplitResult, batch: Sequence[Message], results: Results) -> None:
    stream, maxlen = _options(url)["stream"], int(_options(url)["maxlen"])
    client = _client(url)
    try:
        pipeline = client.pipeline(transaction=False)
        for message in batch:
            pipeline.xadd(stream, _entry(message), maxlen=maxlen, approximate=True)
        answers = await pipeline.execute(raise_on_error=False)
    finally:
        await close_quickly(client.aclose)
    for message, answer in zip(batch, answers, strict=True):
        results[message.id] = _result(answer)


def _entry(message: Message) -> Any:
    return {"id": message.id, "type": message.type, "key": message.key, "event": message.body}


def _result(answer: object) -> Result:
    return Failed(text=f"The server refused: {answer}") if isinstance(answer, Exception) else None


def _options(url: SplitResult) -> dict[str, str]:
    return options(url, stream=DEFAULT_STREAM, maxlen=str(DEFAULT_MAXLEN))


def _client(url: SplitResult) -> redis.Redis:
    return redis.Redis(
        host=url.hostname or "",
        port=url.port or DEFAULT_PORT,
        db=int(url.path.strip("/") or 0),
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        ssl=url.scheme == "rediss",
        ssl_check_hostname=True,
        socket_connect_timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
