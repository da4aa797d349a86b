"""A server in the test's own process's care, for settings that the run's host knows nothing of."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.servers.client import DIRECTORY
from tests.servers.process import ServerProcess

Kind = TypeVar("Kind", bound=ServerProcess)


@contextmanager
def own_server(kind: type[Kind], **settings: Any) -> Iterator[Kind]:
    """Give a block a server that is not started yet, with some of its attributes set.

    It ends with the block, and with this process.
    """
    root = Path(tempfile.mkdtemp(dir=os.environ[DIRECTORY]))
    root.chmod(0o711)
    for name in ("data", "software"):
        (root / name).mkdir(mode=0o755)
    server = kind(root / "data", root / "software")
    for name, value in settings.items():
        setattr(server, name, value)
    try:
        yield server
    finally:
        server.discard()
