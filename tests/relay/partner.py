"""Another system: a real HTTP server that keeps what it is sent, and answers as a test says."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any

Answer = Callable[["Handler", "Received"], None]


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came in."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Handler(BaseHTTPRequestHandler):
    """Keeps each request, then lets the partner answer."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        """Take one request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.path, headers, body)
        self.server.partner.received.append(received)
        self.server.partner.answer(self, received)

    do_GET = do_POST

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server with its partner. What breaks is the test's intention."""

    daemon_threads = True
    partner: "Partner"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


def accept(handler: Handler, received: Received) -> None:
    """Answer 204."""
    handler.reply(204)


@dataclass
class Partner:
    """What a running server received, and how it answers."""

    url: str
    received: list[Received] = field(default_factory=list)
    answer: Answer = accept
    is_over: threading.Event = field(default_factory=threading.Event)

    def ids(self) -> list[str]:
        """Return the webhook ids, in the order in which they came."""
        return [each.headers["webhook-id"] for each in self.received]

    def hang(self, handler: Handler, received: Received) -> None:
        """Do not answer before the test is over."""
        self.is_over.wait(60)


@contextmanager
def running(tls: SSLContext | None = None, port: int = 0) -> Iterator[Partner]:
    """Run a server on 127.0.0.1 during a block; port 0 is any free one."""
    server = Server(("127.0.0.1", port), Handler)
    if tls:
        # Each connection's thread shakes hands at its first read: one that hangs delays no other.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    scheme = "https" if tls else "http"
    partner = Partner(f"{scheme}://127.0.0.1:{server.server_address[1]}/hooks/usher")
    server.partner = partner
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield partner
    finally:
        partner.is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()
