"""No transport reaches into our own networks: the table of threats, for each scheme."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from relay.transport import Destination, Failed, Message, transport_for, transports

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
# Other spellings of this machine, and of where clouds tell their machines secrets.
HOSTS = [
    "127.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0x7f.1",
    "2130706433",
    "localhost",
    "169.254.169.254",
    "[64:ff9b::7f00:1]",
    "[::7f00:1]",
    "[::ffff:0:7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[fec0::1]",
]
MESSAGE = Message(
    id="id-1", type="accounts.user_registered", key="somebody", body=b"{}", attributes={}
)


class Listener:
    """A server on this machine, that notes whether anybody came."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port: int = self._socket.getsockname()[1]
        self.visits = 0
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            visitor, _ = self._socket.accept()
            visitor.close()
            if self._is_over:
                return
            self.visits += 1

    _is_over = False

    def close(self) -> None:
        """Stop listening."""
        self._is_over = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Run a server that nobody is to come to."""
    listener = Listener()
    yield listener
    listener.close()


def send_to(url: str) -> Failed:
    """Send a message there; return the failure."""
    destination = Destination(url=url, secrets=(SECRET,), begin_until=time.monotonic() + 5)
    [result] = transport_for(url)(destination, [MESSAGE])
    assert result is not None
    return result


SCHEMES = sorted(set(transports()) - {"http"})  # which is refused as such


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_sent_there(listener: Listener, scheme: str, host: str) -> None:
    failure = send_to(f"{scheme}://{host}:{listener.port}")

    assert "has no public address" in failure.text
    assert listener.visits == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_sent_to_a_name_that_leads_there_at_the_second_look(
    listener: Listener, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look, when a URL was typed, is not what counts."""

    def resolve(host: str, port: int, *args: object, **options: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    failure = send_to(f"{scheme}://rebinding.example:{listener.port}")

    assert "has no public address" in failure.text
    assert listener.visits == 0
