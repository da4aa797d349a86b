"""RabbitMQ as the system has it (Debian: rabbitmq-server), with a directory of its own."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import HOST, ServerProcess, free_port

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONTROL = PROGRAM.with_name("rabbitmqctl")
MISSING = "RabbitMQ is not installed (apt-get install rabbitmq-server)"
MEMORY_SHARE = "0.4"  # of the machine's, above which a RabbitMQ blocks who publishes
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
            "RABBITMQ_NODENAME": self._node,
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

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """Let the server block who publishes during a block, as one short of memory does."""
        self._control("set_vm_memory_high_watermark", "0")
        try:
            yield
        finally:
            self._control("set_vm_memory_high_watermark", MEMORY_SHARE)

    @property
    def _node(self) -> str:
        return f"usher{self.port}@localhost"

    def _control(self, *words: str) -> None:
        # The server has written the cookie that lets us in into its home.
        self.run(str(CONTROL), "--node", self._node, *words, HOME=str(self.directory))

    def is_ready(self, pid: int) -> bool:
        """Tell whether the server answers the greeting of a client."""
        try:
            with socket.create_connection((HOST, self.port), ANSWER_S) as client:
                client.sendall(GREETING)
                return client.recv(1) == b"\x01"  # a frame with a method: connection.start
        except OSError:
            return False
