"""RabbitMQ as the system has it (Debian: rabbitmq-server), with a directory of its own."""

import signal
import socket
from pathlib import Path

from tests.servers.process import HOST, ServerProcess, free_port

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
MISSING = "RabbitMQ is not installed (apt-get install rabbitmq-server)"
GREETING = b"AMQP\x00\x00\x09\x01"
ANSWER_S = 1.0


class RabbitMQ(ServerProcess):
    """A RabbitMQ with the user guest. What is durable survives a restart."""

    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, software: Path) -> None:
        """Take an existing directory; no software is copied."""
        super().__init__(directory, software)
        self._peer_port = free_port()  # to which nodes of a cluster would connect

    @property
    def url(self) -> str:
        """Return the URL of the virtual host /."""
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    def prepare(self) -> None:
        """Do nothing: a RabbitMQ makes all it needs."""

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        settings = {
            "HOME": self.directory,
            "RABBITMQ_NODENAME": f"usher{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._peer_port,
            "RABBITMQ_MNESIA_BASE": self.directory / "data",
            "RABBITMQ_LOG_BASE": self.directory / "log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": self.directory / "none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.directory / "plugins",
            "RABBITMQ_PID_FILE": self.directory / "pid",
        }
        return [
            "/usr/bin/env",
            *[f"{name}={value}" for name, value in settings.items()],
            str(PROGRAM),
        ]

    def is_ready(self, pid: int) -> bool:
        """Tell whether the server answers the greeting of a client."""
        try:
            with socket.create_connection((HOST, self.port), ANSWER_S) as client:
                client.sendall(GREETING)
                return client.recv(1) == b"\x01"  # a frame with a method: connection.start
        except OSError:
            return False
