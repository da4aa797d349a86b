"""The process that owns every server of a test run and outlives the run by a moment, to clean up.

It is started as `python -m tests.servers.host <listening socket> <directory>`. Its standard input
is a pipe that only the controller of the run holds: when that ends, however it ends, all servers
are stopped and the directory is removed.
"""

import json
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.kafka import Kafka
from tests.servers.nats import Nats
from tests.servers.postgres import Postgres
from tests.servers.process import HOST, ServerProcess, die_with_parent, remove_tree
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.valkey import Valkey

KINDS: dict[str, type[ServerProcess]] = {
    "kafka": Kafka,
    "nats": Nats,
    "postgres": Postgres,
    "rabbitmq": RabbitMQ,
    "valkey": Valkey,
}
REQUEST_S = 5.0


class ServerHost:
    """The servers of one run, by their keys; a kind's shared server has the kind as its key."""

    controls: ClassVar[dict[str, Callable[[ServerProcess], None]]] = {
        "start": ServerProcess.start,
        "stop": ServerProcess.stop,
        "pause": ServerProcess.pause,
        "resume": ServerProcess.resume,
    }

    def __init__(self, root: Path) -> None:
        """Take the directory everything of the run is kept in."""
        self._root = root
        self._servers: dict[str, ServerProcess] = {}
        self._started = 0

    def answer(self, do: str, what: str) -> dict[str, Any]:
        """Do what a test process asks for: `what` is a kind of server, or a server's key."""
        if do == "share":
            return self._describe(what if what in self._servers else self._start(what, key=what))
        if do == "new":
            self._started += 1
            return self._describe(self._start(what, key=f"{what}-{self._started}"))
        if do == "discard":
            self._servers.pop(what).discard()
        else:
            self.controls[do](self._servers[what])
        return {}

    def close(self) -> None:
        """Stop everything and remove the directory."""
        for server in self._servers.values():
            server.stop()
        remove_tree(self._root)

    def _start(self, kind: str, key: str) -> str:
        directory = self._root / key
        directory.mkdir(mode=0o700)
        server = KINDS[kind](directory, self._root / "software")
        try:
            server.start()
        except Exception:
            server.discard()
            raise
        self._servers[key] = server
        return key

    def _describe(self, key: str) -> dict[str, Any]:
        server = self._servers[key]
        return {"key": key, "url": server.url, "host": HOST, "port": server.port}


def serve(listener: socket.socket, host: ServerHost, terminated: socket.socket) -> None:
    """Answer test processes until the controller is gone, or until `terminated` has a byte."""
    with selectors.DefaultSelector() as selector:
        for source in (listener, sys.stdin, terminated):
            selector.register(source, selectors.EVENT_READ)
        while [key.fileobj for key, _ in selector.select()] == [listener]:
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the one who asked may be gone
                _answer(connection, host)


def _answer(connection: socket.socket, host: ServerHost) -> None:
    connection.settimeout(REQUEST_S)
    with connection.makefile("rw") as stream:
        request = json.loads(stream.readline())
        try:
            answer = host.answer(**request)
        except Exception as error:  # the test that asked shall fail, not the host
            answer = {"error": f"{type(error).__name__}: {error}"}
        stream.write(json.dumps(answer) + "\n")


def main() -> None:
    """Serve on the socket of the first argument, in the directory of the second."""
    terminated = _sigterm_as_bytes()
    die_with_parent(signal.SIGTERM)  # in case a fork of the controller still holds the pipe
    host = ServerHost(Path(sys.argv[2]))
    try:
        serve(socket.socket(fileno=int(sys.argv[1])), host, terminated)
    finally:
        host.close()


def _sigterm_as_bytes() -> socket.socket:
    """Return a socket that becomes readable on SIGTERM, which then interrupts no clean-up."""
    readable, writable = socket.socketpair()
    writable.setblocking(False)
    signal.set_wakeup_fd(writable.detach())
    signal.signal(signal.SIGTERM, lambda *_: None)
    return readable


if __name__ == "__main__":
    main()
