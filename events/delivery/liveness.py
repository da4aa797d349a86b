"""Say over HTTP whether a worker is alive: what containers and load balancers ask for.

`manage.py worker --liveness-port 8001` answers any GET with 200, or 503 and what is stuck.
"""

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

ASK_WITHIN_S = 5.0


class _Handler(BaseHTTPRequestHandler):
    timeout = ASK_WITHIN_S  # of a client that connects and asks nothing

    def __init__(self, what_is_stuck: Callable[[], dict[str, str]], *args: Any) -> None:
        self.what_is_stuck = what_is_stuck
        super().__init__(*args)

    def do_GET(self) -> None:
        stuck = self.what_is_stuck()
        body = json.dumps({"alive": not stuck, "stuck": stuck}).encode()
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE if stuck else HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: this is asked every few seconds."""


def listen(port: int) -> HTTPServer:
    """Return a server that listens on a port of all addresses. Raises OSError where it is taken."""
    return ThreadingHTTPServer(("", port), BaseHTTPRequestHandler)


def answer(server: HTTPServer, what_is_stuck: Callable[[], dict[str, str]]) -> None:
    """Answer for ever."""
    server.RequestHandlerClass = partial(_Handler, what_is_stuck)
    server.serve_forever()
