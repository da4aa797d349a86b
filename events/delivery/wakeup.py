"""Wake a waiting cluster at once where the database cannot: a datagram to a Unix socket.

Each pusher binds a socket of its own under var/bells/; whoever rings writes to all of the queue's.
A datagram that is lost costs one polling interval.
"""

import logging
import os
import select
import socket
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

MAX_SOCKET_PATH_LENGTH = 107  # bytes; see unix(7)


def directory() -> Path:
    """Return where the sockets are."""
    return Path(settings.VAR_DIR) / "bells"


class Sleeper:
    """The waiting side: one process, one queue."""

    def __init__(self, queue: str, name: str = "") -> None:
        self._path = directory() / f"{queue}.{name or os.getpid()}"
        self._socket: socket.socket | None = None

    def wait(self, timeout_s: float) -> None:
        """Return when woken, or after `timeout_s`."""
        receiving = self._socket or self._bind()
        readable, _, _ = select.select([receiving] if receiving else [], [], [], timeout_s)
        if readable and receiving:
            receiving.recv(16)

    def close(self) -> None:
        """Stop listening."""
        if self._socket:
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)

    def _bind(self) -> socket.socket | None:
        if len(os.fsencode(self._path)) > MAX_SOCKET_PATH_LENGTH:
            return None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)  # left by a dead process that had our pid
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        return self._socket


def wake(queue: str) -> None:
    """Wake every process that waits for this queue. Sockets of dead processes are removed."""
    paths = list(directory().glob(f"{queue}.*"))
    if not paths:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.setblocking(False)
        for path in paths:
            try:
                sending.sendto(b"!", str(path))
            except ConnectionRefusedError:  # nobody listens any more
                path.unlink(missing_ok=True)
            except OSError as error:  # gone meanwhile, or full of wake-ups already
                logger.debug("%s was not woken: %s", path.name, error)
