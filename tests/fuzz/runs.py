"""One server, and what Schemathesis finds there as each of its callers."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fuzz import callers
from tests.processes import answers, wait_until
from tests.servers.client import DIRECTORY, ROOT, RunningHost, new_server
from tests.servers.process import free_port

CALLERS = ("owner", "service", "staff")
START_S = 60.0
_PYTHON = [sys.executable, "-m"]
_SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "USHER_ENV": "development",
    "SECRET_KEY": "a-key-for-tests-only-that-signs-nothing-of-value",
    "PASSWORD_HASHER": "cheap",
    "RATE_LIMITS": "off",
    "EMAIL_URL": "dummymail://",
    "RISK_DECISION_SECRETS": callers.RISK_SECRET,
}


def fuzz(
    database: str, seed: int, names: Sequence[str], max_examples: int | None
) -> Iterator[dict[str, Any]]:
    """Yield what was found on a new server, caller by caller."""
    directory = Path(tempfile.mkdtemp(prefix="usher-fuzz-", dir="/tmp"))
    sound = True
    with _database_url(database, directory) as url:
        environment = {**os.environ, **_SETTINGS, "DATABASE_URL": url, "USHER_VAR": str(directory)}
        world = _make_world(environment)
        with _server(environment, directory) as address:
            (directory / "world.json").write_text(json.dumps({**world, "address": address}))
            for name in names:
                run = _run(address, directory, name, seed, max_examples)
                sound = sound and run["exit_code"] == 0
                yield {"database": database, "seed": seed, "caller": name, **run}
    if sound:
        shutil.rmtree(directory)
    else:
        print(f"Logs are in {directory}", file=sys.stderr)


@contextmanager
def _database_url(database: str, directory: Path) -> Iterator[str]:
    if database == "sqlite":
        yield f"sqlite:///{directory}/db.sqlite3"
        return
    host = RunningHost()
    os.environ[DIRECTORY] = str(host.directory)
    try:
        yield new_server("postgres")[0].url
    finally:
        host.close()


def _make_world(environment: dict[str, str]) -> dict[str, Any]:
    command = [*_PYTHON, "tests.fuzz.world"]
    made = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    world: dict[str, Any] = json.loads(made.stdout)
    return world


@contextmanager
def _server(environment: dict[str, str], directory: Path) -> Iterator[str]:
    """Run the web server; what it logs is kept beside the database."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [*_PYTHON, "uvicorn", "project.asgi:application", "--port", str(port)]
    quiet = ["--log-level", "warning", "--no-access-log", "--no-proxy-headers"]
    with (directory / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *quiet], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: answers(f"{address}/livez"), START_S)
            yield address
        finally:
            process.terminate()
            process.wait(15)


def _run(
    address: str, directory: Path, caller: str, seed: int, max_examples: int | None
) -> dict[str, Any]:
    """Return what Schemathesis reports of one caller. Its own words go to stderr."""
    report = directory / f"{caller}.json"
    options = [f"--seed={seed}", f"--report-json-path={report}", "--no-color"]
    if max_examples:
        options.append(f"--max-examples={max_examples}")
    command = [*_PYTHON, "schemathesis.cli", "run", f"{address}/api/schema/", *options]
    answers = directory / f"{caller}.answers.json"
    environment = {
        **os.environ,
        callers.WORLD: str(directory / "world.json"),
        callers.CALLER: caller,
        callers.ANSWERS: str(answers),
    }
    subprocess.run(command, cwd=ROOT, env=environment, check=False, stdout=sys.stderr)
    found = _digest(json.loads(report.read_text()))
    return {**found, "answers": json.loads(answers.read_text())}


def _digest(report: dict[str, Any]) -> dict[str, Any]:
    cases = report["test_cases"]
    return {
        "exit_code": report["exit_code"],
        "cases": cases["generated"],
        "failures": cases["with_failures"] + cases["errored"],
        "operations": report["operations"]["tested"],
        "phases": {name: phase["status"] for name, phase in report["phases"].items()},
        "seconds": report["running_time"],
        "found": report["failures"] + report["errors"],
    }
