"""Run a client library that speaks asyncio: in the calling thread, within a time, leaving nothing.

Some servers tell their clients where to go on (Kafka's brokers, the members of a NATS cluster). So
addresses are checked by the event loop, which makes every connection, whoever chose where it leads.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult

from relay.addresses import AddressRefused, is_allowed, look_up
from relay.transport import TOTAL_S, Failed, Message, Result, unreachable

CLOSE_S = 0.5  # for a polite end, which a peer that hangs does not get

T = TypeVar("T")
Results = dict[str, Result]  # by the messages' ids


class CheckedLoop(asyncio.SelectorEventLoop):
    """An event loop that connects to no address that may not be called."""

    def __init__(self) -> None:
        super().__init__()
        self.is_encrypted = False  # a connection of this loop was raised to TLS
        self._opened: list[asyncio.Transport] = []

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Look a name up in threads that nobody has to wait for."""
        try:
            return await asyncio.wrap_future(look_up(host, port, **options), loop=self)
        except UnicodeError:
            raise OSError(f"{host} is no name") from None

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect. Raises AddressRefused, and OSError."""
        if not is_allowed(address[0]):
            raise AddressRefused(address[0])
        await super().sock_connect(sock, address)

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """Connect, and remember the transport."""
        transport, protocol = await super().create_connection(*args, **options)
        self._opened.append(transport)
        return transport, protocol

    async def start_tls(self, *args: Any, **options: Any) -> Any:
        """Raise a connection to TLS, and remember that."""
        transport = await super().start_tls(*args, **options)
        self.is_encrypted = True
        if transport is not None:
            self._opened.append(transport)
        return transport

    async def abort_connections(self) -> None:
        """Close every connection at once, whatever is under way."""
        for transport in self._opened:
            transport.abort()
        await asyncio.sleep(0)  # the sockets are closed in the loop's next round


def run_within(limit_s: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns; whatever it opened or began has ended then.

    Raises TimeoutError after `limit_s`, however lively the other side is, and AddressRefused.
    """
    with asyncio.Runner(loop_factory=CheckedLoop) as runner:
        return runner.run(_limited(limit_s, work))


def send_within(
    url: SplitResult,
    batch: Sequence[Message],
    publish_all: Callable[[SplitResult, Sequence[Message], Results], Coroutine[Any, Any, None]],
    *,
    errors: tuple[type[Exception], ...],
) -> list[Result]:
    """Let `publish_all` put down a result for each message; those it did not come to, failed.

    `errors` are those by which its library says that a server is away, or refuses.
    """
    results: Results = {}
    caught: tuple[type[Exception], ...] = (*errors, OSError, AddressRefused)
    missing = Failed(text="There was no answer.", is_unreachable=True)
    try:
        run_within(TOTAL_S, publish_all(url, batch, results))
    except caught as error:
        missing = unreachable(url, error.__cause__ or error)
    return [results.get(message.id, missing) for message in batch]


async def publish_side_by_side(
    publish: Callable[[Message], Awaitable[Result]],
    batch: Sequence[Message],
    results: Results,
) -> None:
    """Publish all messages at once, and put down each one's result, by id, as it comes."""

    async def note(message: Message) -> None:
        results[message.id] = await publish(message)

    await asyncio.gather(*[note(message) for message in batch])


async def close_quickly(close: Callable[[], Awaitable[object]]) -> None:
    """Let a client take its leave, if that takes but a moment."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await close()
    except TimeoutError:
        return  # its connections are about to be closed anyhow


async def _limited(limit_s: float, work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CheckedLoop)  # noqa: S101  the runner has made it
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"no complete answer within {limit_s:g} s") from None
        raise
    finally:
        await loop.abort_connections()
