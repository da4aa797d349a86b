"""ZeroMQ: zmq+tcp://host:5555, acknowledged. docs/integrations.md has the other end of it.

ZeroMQ itself confirms nothing. So we send from a DEALER to their REP or ROUTER socket

    "" · webhook-id · webhook-timestamp · webhook-signature · event

and a message counts when "" · webhook-id · "ok" came back. Anything else in the place of "ok" is a
refusal, with a reason in the frame behind it. With ?server_key=, the other side's public key in
hexadecimal, all of it is encrypted, and read by nobody else (https://rfc.zeromq.org/spec/26/).
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import zmq
import zmq.utils.z85
from django.utils.translation import gettext as _

from relay.addresses import AddressRefused, allowed_addresses
from relay.signing import signed_headers
from relay.transport import (
    TOTAL_S,
    BadURL,
    Destination,
    Failed,
    Message,
    Result,
    options,
    unreachable,
)

SCHEMES = ("zmq+tcp",)
CONNECT_S = 2.0  # to one of several addresses
MAX_ADDRESSES = 3
KEY_BYTES = 32
MAX_ANSWER_BYTES = 64 * 1024
MAX_FRAMES = 8
OK = b"ok"


def check(url: SplitResult) -> None:
    """Refuse what is no place of a ZeroMQ socket. Raises BadURL."""
    if url.port is None:
        raise BadURL(_("A URL with zmq+tcp:// names a port."))
    if "@" in url.netloc or url.path.strip("/"):
        raise BadURL(_("A URL with zmq+tcp:// has no user and no path: messages are signed."))
    _server_key(url)


def send(destination: Destination, batch: Sequence[Message]) -> list[Result]:
    """Push the messages, and wait until each is acknowledged."""
    url = urlsplit(destination.url)
    deadline = time.monotonic() + TOTAL_S
    results: dict[str, Result] = {}
    missing = Failed(text=f"{url.hostname}: no answer in time", is_unreachable=True)
    context = zmq.Context()
    try:
        with _connected(context, url, deadline) as socket:
            for message in batch:
                socket.send_multipart(_frames(message, destination.secrets))
            _collect(socket, {message.id for message in batch}, results, deadline)
    except (zmq.ZMQError, OSError, AddressRefused) as error:
        missing = unreachable(url, error)
    finally:
        context.destroy(linger=0)
    return [results.get(message.id, missing) for message in batch]


def _frames(message: Message, secrets: Sequence[str]) -> list[bytes]:
    headers = signed_headers(message, secrets, datetime.now(UTC))
    return [b"", *[value.encode() for value in headers.values()], message.body]


def _collect(socket: Any, missing: set[str], results: dict[str, Result], deadline: float) -> None:
    """Put down the result of each message that is answered for before the deadline."""
    while missing and socket.poll(_left_ms(deadline)):
        frames = socket.recv_multipart()
        if not 3 <= len(frames) <= MAX_FRAMES:
            continue
        _empty, id_, verdict, *reason = frames
        answered = id_.decode("utf-8", "replace")
        if answered in missing:
            missing.discard(answered)
            results[answered] = _result(verdict, reason)


def _result(verdict: bytes, reason: Sequence[bytes]) -> Result:
    if verdict == OK:
        return None
    text = b" ".join([verdict, *reason]).decode("utf-8", "replace")
    return Failed(text=f"It answered: {text}")


def _connected(context: zmq.Context[Any], url: SplitResult, deadline: float) -> Any:
    """Return a socket, which connects in the background. Raises OSError and AddressRefused."""
    addresses = allowed_addresses(url.hostname or "", url.port or 0, deadline=deadline)
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_ANSWER_BYTES)
    if key := _server_key(url):
        public, secret = zmq.curve_keypair()
        socket.curve_serverkey = zmq.utils.z85.encode(key)
        socket.curve_publickey, socket.curve_secretkey = public, secret
    _connect(socket, addresses[:MAX_ADDRESSES], url.port, deadline)
    socket.setsockopt(zmq.SNDTIMEO, _left_ms(deadline))
    return socket


def _connect(socket: Any, addresses: Sequence[str], port: int | None, deadline: float) -> None:
    """Connect to the first address that can be reached, or else go on trying the last."""
    *others, last = [f"tcp://{f'[{each}]' if ':' in each else each}:{port}" for each in addresses]
    for place in others:
        socket.connect(place)
        limit_ms = min(int(CONNECT_S * 1000), _left_ms(deadline))
        if socket.poll(limit_ms, zmq.POLLOUT):  # by IMMEDIATE: it is connected
            return
        socket.disconnect(place)
    socket.connect(last)


def _left_ms(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))


def _server_key(url: SplitResult) -> bytes:
    text = options(url, server_key="")["server_key"]
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b"?"
    if len(key) not in (0, KEY_BYTES):
        raise BadURL(_("server_key is 64 hexadecimal digits."))
    return key
