"""Short runs of `tests.faults.soak`: everything is killed while people register.

Each takes over a minute, so each runs once: those on PostgreSQL with `--database=postgres`.
"""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.faults]

KILLS, REGISTRATIONS = 50, 1000
TIMEOUT_S = 900  # for a machine with much else to do
BROKERS = {"sqlite": ["orm"], "postgres": ["orm", "redis"]}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on this pass's database, with every broker it can have."""
    database = metafunc.config.getoption("database")
    metafunc.parametrize(("database", "broker"), [(database, b) for b in BROKERS[database]])


def test_nothing_is_lost_doubled_or_stuck_while_everything_is_killed(
    database: str, broker: str, pytestconfig: pytest.Config
) -> None:
    seed = pytestconfig.getoption("randomly_seed")

    result = soak("--database", database, "--broker", broker, "--seed", str(seed))

    assert result["sound"], json.dumps(result, indent=2)
    assert result["kills"] >= KILLS
    assert result["registrations"] >= REGISTRATIONS


def soak(*arguments: str) -> dict[str, Any]:
    """Run the command; return its result."""
    size = ["--kills", str(KILLS), "--registrations", str(REGISTRATIONS)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.soak", *size, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        if process.poll() is None:  # with all it has started
            os.killpg(process.pid, signal.SIGKILL)
    result: dict[str, Any] = json.loads(output)
    return result
