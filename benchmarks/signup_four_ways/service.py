"""A coupon service, a points service, or the promotion service that calls both.

    python -m benchmarks.signup_four_ways.service PORT CONTROL_PORT [promotion]

It listens at PORT, behaves as it is told at CONTROL_PORT (`POST /<behaviour>`), and tells there
what it gave (`GET /`): the users, one for each time. Known Idempotency-Keys give nothing.
"""

import itertools
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.signup_four_ways.calls import CallFailed, give

HOST = "127.0.0.1"
DELAYS_S = {"slow_200ms": 0.2, "slow_2s": 2.0}


class Server(ThreadingHTTPServer):
    """Keeps many waiting connections; a thread for each."""

    request_queue_size = 512
    daemon_threads = True


class Service:
    """What is given, and how the service behaves."""

    def __init__(self, port: int, *, is_promotion: bool) -> None:
        self.port, self.is_promotion = port, is_promotion
        self.behaviour = "healthy"
        self.given: list[str] = []
        self.keys: set[str] = set()
        self.numbers = itertools.count()
        self.lock = threading.Lock()
        self.server: Server | None = None
        self.behave("healthy")

    def behave(self, behaviour: str) -> None:
        """Begin to behave otherwise; `down` refuses connections."""
        self.behaviour = behaviour
        if behaviour == "down" and self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        elif behaviour != "down" and not self.server:
            self.server = Server((HOST, self.port), _handler(self))
            threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, user: str, key: str) -> int:
        """Give something, or not, and return the status to answer with."""
        time.sleep(DELAYS_S.get(self.behaviour, 0.0))
        if self.is_promotion:
            try:
                give("COUPONS", user)
                give("POINTS", user)
            except CallFailed:
                return 502
            return 200
        fails = self.behaviour == "failing"
        if fails and next(self.numbers) % 2:
            return 500
        with self.lock:
            if not key or key not in self.keys:
                self.given.append(user)
            self.keys.add(key)
        return 500 if fails else 200


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(
                service.answer(body["user"], self.headers.get("Idempotency-Key", ""))
            )
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


def _control(service: Service) -> type[BaseHTTPRequestHandler]:
    class Control(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            service.behave(self.path.strip("/"))
            self._answer(b"")

        def do_GET(self) -> None:
            with service.lock:
                self._answer(json.dumps(service.given).encode())

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Control


def main() -> None:
    """Serve until killed."""
    port, control_port = int(sys.argv[1]), int(sys.argv[2])
    service = Service(port, is_promotion=sys.argv[3:] == ["promotion"])
    threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    Server((HOST, control_port), _control(service)).serve_forever()


def _die_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
