"""The project's pytest plugin: real servers, the database of a run, and what a run left out.

Loaded by `-p tests.servers.plugin`. It prepares the environment before Django reads its settings.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from tests.servers import browser
from tests.servers.client import DIRECTORY, RunningHost, Server, new_server, shared_server

DEFAULTS = {
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "PASSWORD_HASHER": "cheap",
    "RATE_LIMITS": "off",
    "USHER_ENV": "development",
    "SECRET_KEY": "a-key-for-tests-only-that-signs-nothing-of-value",
}
DATABASE = "usher"
LANES = ("browser", "faults")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--database`."""
    parser.addoption(
        "--database",
        choices=["sqlite", "postgres"],
        default="sqlite",
        help="the database the tests run on (default: sqlite)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Prepare the environment; pytest-django loads the settings in this same hook, later."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:  # workers inherit what the controller prepares
        host = RunningHost()
        early_config.add_cleanup(host.close)
        os.environ[DIRECTORY] = str(host.directory)
        _choose_database(early_config.known_args_namespace.database)
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
    files = Path(os.environ[DIRECTORY]) / (worker or "main")
    files.mkdir(mode=0o700)
    os.environ["USHER_VAR"] = str(files)


def _choose_database(kind: str) -> None:
    os.environ.pop("DATABASE_URL", None)
    if kind == "postgres":
        url = urlsplit(shared_server("postgres").url)
        named = url if url.path.strip("/") else url._replace(path=f"/{DATABASE}")
        os.environ["DATABASE_URL"] = named.geturl()


def pytest_configure(config: pytest.Config) -> None:
    """Register the browser lane after pytest-playwright, whose fixture it refines."""
    config.pluginmanager.register(browser, "usher-browser")


def pytest_report_header(config: pytest.Config) -> str:
    """Name the database."""
    return f"database: {config.getoption('database')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of what is skipped why, lane by lane."""
    skipped = Counter(
        (_lane_of(report), report.longrepr[2].removeprefix("Skipped: "))
        for report in terminalreporter.getreports("skipped")
    )
    if skipped:
        terminalreporter.section("skipped")
    for (lane, reason), tests in sorted(skipped.items()):
        terminalreporter.line(f"{lane}{tests} skipped. {reason}")


def _lane_of(report: pytest.TestReport) -> str:
    return next((f"{lane}: " for lane in LANES if lane in getattr(report, "keywords", ())), "")


@pytest.fixture(scope="session")
def postgres_server() -> Server:
    """Return the PostgreSQL all tests share."""
    return shared_server("postgres")


@pytest.fixture
def valkey_server() -> Server:
    """Return the Valkey all tests share, with a database of this process's own, made empty."""
    server = shared_server("valkey")
    with redis.Redis.from_url(server.url) as client:
        client.flushdb()
    return server


@pytest.fixture
def private_postgres() -> Iterator[Server]:
    """Return a PostgreSQL of the test's own, which it may break."""
    yield from _private("postgres")


@pytest.fixture
def private_valkey() -> Iterator[Server]:
    """Return a Valkey of the test's own, which it may break."""
    yield from _private("valkey")


def _private(kind: str) -> Iterator[Server]:
    server, discard = new_server(kind)
    yield server
    discard()
