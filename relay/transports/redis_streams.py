"""Redis or Valkey streams: redis://user@host:6379/0?stream=NAME&maxlen=100000.

An entry counts when the server has answered its XADD; how well it is kept from then on is for the
server's settings to say (appendonly, appendfsync). The stream is capped at about `maxlen` entries.
"""

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from relay.addresses import AddressRefused, allowed_addresses
from relay.transport import Destination, Failed, Message, Result

SCHEMES = ("redis",)
DEFAULT_STREAM = "usher"
DEFAULT_MAXLEN = 100_000
TIMEOUT_S = 5.0  # to connect, and for an answer


def send(destination: Destination, batch: Sequence[Message]) -> list[Result]:
    """Add the messages in one go; the server answers for each."""
    url = urlsplit(destination.url)
    query = parse_qs(url.query)
    stream = query.get("stream", [DEFAULT_STREAM])[0]
    try:
        maxlen = int(query.get("maxlen", [str(DEFAULT_MAXLEN)])[0])
        with _client(url) as client, client.pipeline(transaction=False) as pipeline:
            for message in batch:
                pipeline.xadd(stream, _entry(message), maxlen=maxlen, approximate=True)
            answers = pipeline.execute(raise_on_error=False)
    except (redis.RedisError, OSError, AddressRefused, ValueError) as error:
        # Some may have arrived, and come again: at least once.
        text = f"{url.hostname}: {type(error).__name__}: {error}"
        return [Failed(text=text, is_unreachable=True)]
    return [_result(answer) for answer in answers]


def _entry(message: Message) -> Any:
    return {"id": message.id, "type": message.type, "key": message.key, "event": message.body}


def _result(answer: object) -> Result:
    return Failed(text=f"The server refused: {answer}") if isinstance(answer, Exception) else None


def _client(url: SplitResult) -> redis.Redis:
    host, port = url.hostname or "", url.port or 6379
    return redis.Redis(
        host=allowed_addresses(host, port, deadline=time.monotonic() + TIMEOUT_S)[0],
        port=port,
        db=int(url.path.strip("/") or 0),
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        socket_connect_timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
