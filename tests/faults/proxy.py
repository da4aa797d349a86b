"""A TCP link that can be made slow, cut or silent while it is in use.

It runs in a thread with an event loop of its own: `with link_to(host, port) as link: …`. What is
set applies to connections that are open already, too.
"""

import asyncio
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
LOOK_EVERY_S = 0.02
PATIENCE_S = 10.0


@dataclass(slots=True)
class Conditions:
    """How the link is. The defaults are those of a healthy one."""

    latency_s: float = 0.0  # each way
    jitter_s: float = 0.0  # up to this much is added to it
    bytes_per_s: float | None = None  # each way and connection; None: no limit
    refuses: bool = False  # new connections are reset at once
    is_black_hole: bool = False  # connections open, and nothing arrives, either way


class Link:
    """The running proxy, as a test sees it."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Take where the link leads to, and how its near end is encrypted."""
        self.target = (host, port)
        self._tls = tls
        self.conditions = Conditions()
        self.opened = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._cut_when: Callable[[bytes], bool] | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def url(self, direct: str) -> str:
        """Return a server's URL with this link in between."""
        parts = urlsplit(direct)
        login, _, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}@{HOST}:{self.port}".lstrip("@")).geturl()

    def reset(self) -> None:
        """Reset every open connection."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._reset_all, done)
        done.wait(PATIENCE_S)

    def cut_when(self, is_last: Callable[[bytes], bool]) -> None:
        """Once, let through what a client sends for which this is true, and reset its connection.

        The server gets it, and the client never hears what came of it.
        """
        self._cut_when = is_last

    def cut_after(self, count: int) -> None:
        """Once, reset a connection when clients have sent so many more bytes in all."""
        left = count

        def is_last(chunk: bytes) -> bool:
            nonlocal left
            left -= len(chunk)
            return left <= 0

        self.cut_when(is_last)

    @property
    def is_cut(self) -> bool:
        """Tell whether the cut that was asked for last has been made."""
        return self._cut_when is None

    def close(self) -> None:
        """Reset what is open and stop listening."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._join(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, sock=self._listener, ssl=self._tls)
        await self._stop.wait()
        server.close()
        self._reset_all()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client to the target, until either ends the connection or it is reset."""
        self.opened += 1
        ends = [writer]
        self._open.add(writer)
        try:
            if self.conditions.refuses:
                return _reset(writer)
            await self._pass_black_hole()
            behind, beyond = await asyncio.open_connection(*self.target)
            ends.append(beyond)
            self._open.add(beyond)
            directions = (self._pump(reader, beyond, writer), self._pump(behind, writer))
            pumps = [self._loop.create_task(direction) for direction in directions]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            _reset(writer)  # the target cannot be reached
        finally:
            for end in ends:
                self._open.discard(end)
                end.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        client: asyncio.StreamWriter | None = None,
    ) -> None:
        """Carry bytes one way. `client` is given where they come from one: it may be cut off."""
        while chunk := await source.read(CHUNK_BYTES):
            await self._delay(len(chunk))
            await self._pass_black_hole()
            sink.write(chunk)
            await sink.drain()
            if client is not None and self._cut_when is not None and self._cut_when(chunk):
                self._cut_when = None
                _reset(client)
                break

    async def _delay(self, count: int) -> None:
        conditions = self.conditions
        delay_s = conditions.latency_s + random.uniform(0, conditions.jitter_s)  # noqa: S311
        if conditions.bytes_per_s:
            delay_s += count / conditions.bytes_per_s
        if delay_s:
            await asyncio.sleep(delay_s)

    async def _pass_black_hole(self) -> None:
        while self.conditions.is_black_hole:
            await asyncio.sleep(LOOK_EVERY_S)

    def _reset_all(self, done: threading.Event | None = None) -> None:
        for writer in list(self._open):
            _reset(writer)
        if done:
            done.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST, as a peer that has forgotten it does."""
    with suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@contextmanager
def link_to(host: str, port: int, tls: ssl.SSLContext | None = None) -> Iterator[Link]:
    """Run a block with a healthy link to a server; it ends with the block."""
    link = Link(host, port, tls)
    try:
        yield link
    finally:
        link.close()
