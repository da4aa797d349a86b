"""How test processes get servers: each asks the run's host, which starts what is not there yet."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = "USHER_TEST_SERVERS"
ANSWER_S = 120.0
CLOSE_S = 60.0
VALKEY_DATABASES = 16
DEFAULT_PORTS = {"kafka": 9092, "nats": 4222, "postgres": 5432, "valkey": 6379}


class HostFailed(Exception):
    """The host could not do what a test asked for; the text is its reason."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. Only one of the test's own may be stopped or frozen."""

    url: str
    host: str
    port: int
    _control: Callable[[str], None] = field(repr=False)

    def stop(self) -> None:
        """Stop the server: its port refuses connections."""
        self._control("stop")

    def start(self) -> None:
        """Start a stopped server on the same port; return once it serves."""
        self._control("start")

    def pause(self) -> None:
        """Freeze the server: connections open, and nothing answers."""
        self._control("pause")

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._control("resume")


class RunningHost:
    """The host process, as the controller of a run sees it."""

    def __init__(self) -> None:
        """Start the host; servers are started when somebody asks for one."""
        # Always there: paths of sockets are limited to 107 bytes, and other users must come in.
        self.directory = Path(tempfile.mkdtemp(prefix="usher-", dir="/tmp"))
        self.directory.chmod(0o711)
        (self.directory / "software").mkdir(mode=0o755)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(_socket_in(self.directory)))
            _socket_in(self.directory).chmod(0o600)
            listener.listen(64)
            self._process = self._start(listener.fileno())

    def close(self) -> None:
        """Return once all servers and the directory are gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # and the kernel kills the servers
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, listener: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.servers.host", str(listener), str(self.directory)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener],
            start_new_session=True,  # Ctrl-C ends the run; the host ends after it
        )


def shared_server(kind: str) -> Server:
    """Return the run's server of a kind, or the one that `TEST_<KIND>_URL` names.

    Of a Valkey each xdist worker gets another database, counted from the one in the URL.
    """
    url = urlsplit(os.environ.get(f"TEST_{kind.upper()}_URL") or _ask("share", kind)["url"])
    if kind == "valkey":
        database = int(url.path.strip("/") or 0) + _worker_number()
        url = url._replace(path=f"/{database % VALKEY_DATABASES}")
    port = url.port or DEFAULT_PORTS[kind]
    return Server(url.geturl(), url.hostname or "localhost", port, _refuse)


def new_server(kind: str) -> tuple[Server, Callable[[], None]]:
    """Start a server nobody else uses; return it, and what removes it."""
    made = _ask("new", kind)

    def control(do: str) -> None:
        _ask(do, made["key"])

    return Server(made["url"], made["host"], made["port"], control), lambda: control("discard")


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Run a block with the server stopped: connections are refused."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def paused(server: Server) -> Iterator[None]:
    """Run a block with the server frozen: connections hang."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


def _worker_number() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _refuse(do: str) -> None:
    raise HostFailed(f"Other tests use this server. To {do} one, take a private one.")


def _ask(do: str, what: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(str(_socket_in(Path(os.environ[DIRECTORY]))))
        with connection.makefile("rw") as stream:
            stream.write(json.dumps({"do": do, "what": what}) + "\n")
            stream.flush()
            answer: dict[str, Any] = json.loads(stream.readline() or '{"error": "The host died."}')
    if "error" in answer:
        raise HostFailed(answer["error"])
    return answer


def _socket_in(directory: Path) -> Path:
    return directory / "host.sock"
