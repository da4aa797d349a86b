"""What runs on the relay's event loop ends in time, calls nobody it may not, and leaves nothing."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from relay.addresses import AddressRefused
from relay.loops import run_within


class Dripper:
    """A server that writes a byte now and then, for as long as somebody is there."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_left = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def _drip(self) -> None:
        visitor, _ = self._listener.accept()
        visitor.settimeout(0.02)
        with visitor:
            while True:
                try:
                    visitor.sendall(b"x")
                    if not visitor.recv(1):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        self.is_left.set()

    def close(self) -> None:
        """End, also where nobody came."""
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def dripper() -> Iterator[Dripper]:
    """Run a server that drips."""
    dripper = Dripper()
    yield dripper
    dripper.close()


async def read_for_ever(host: str, port: int) -> None:
    """Read what a server sends, to its end."""
    reader, _ = await asyncio.open_connection(host, port)
    while await reader.read(1):
        pass


def test_a_peer_that_drips_is_left_at_the_deadline(dripper: Dripper, settings: Settings) -> None:
    settings.RELAY_ALLOWED_NETWORKS = ["127.0.0.0/8"]

    with pytest.raises(TimeoutError, match=r"no complete answer within 0\.3 s"):
        run_within(0.3, read_for_ever("127.0.0.1", dripper.port))

    assert dripper.is_left.wait(10)


def test_a_task_that_was_begun_has_ended(settings: Settings) -> None:
    ended = threading.Event()

    async def go_on() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def begin() -> None:
        begin.task = asyncio.create_task(go_on())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    run_within(5, begin())

    assert ended.is_set()


def test_a_private_address_is_not_connected_to(dripper: Dripper) -> None:
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 has no public address"):
        run_within(5, read_for_ever("127.0.0.1", dripper.port))
