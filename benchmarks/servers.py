"""Database servers for benchmarks: those of the tests, but as durable as a site's."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

from tests.servers import postgres, valkey
from tests.servers.process import ServerProcess, remove_tree

Kind = TypeVar("Kind", bound=ServerProcess)


class DurablePostgres(postgres.Postgres):
    """A PostgreSQL that waits for the disk at every commit, with the memory of a small site."""

    settings: ClassVar[dict[str, str]] = {
        **postgres.SETTINGS,
        "fsync": "on",
        "full_page_writes": "on",
        "shared_buffers": "512MB",
        "max_wal_size": "4GB",
        "random_page_cost": "1.1",  # a disk without a head to move, as docs/deploying.md has it
        "shared_preload_libraries": "pg_stat_statements",
        "track_commit_timestamp": "on",
    }


class DurableValkey(valkey.Valkey):
    """A Valkey that writes what it is told to a file, and to the disk once a second."""

    settings: ClassVar[dict[str, str]] = {
        **valkey.SETTINGS,
        "appendonly": "yes",
        "appendfsync": "everysec",
    }


@contextmanager
def running(kind: type[Kind]) -> Iterator[Kind]:
    """Run a server of this process's own during a block, in a directory that ends with it."""
    root = Path(tempfile.mkdtemp(prefix="usher-bench-", dir="/tmp"))
    root.chmod(0o711)
    for name in ("data", "software"):
        (root / name).mkdir(mode=0o755)
    server = kind(root / "data", root / "software")
    try:
        server.start()
        yield server
    finally:
        server.discard()
        remove_tree(root)
