"""Short runs of `tests.faults.soak`: everything is killed while people register.

Each takes over a minute, so each runs once: those on PostgreSQL with `--database=postgres`.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.faults]

TIMEOUT_S = 900  # for a machine with much else to do


@dataclass(frozen=True, slots=True)
class Run:
    """A set-up, and how much happens to it."""

    database: str
    broker: str
    kills: int
    registrations: int

    def __str__(self) -> str:
        return f"{self.database}-{self.broker}"


RUNS = [
    Run("sqlite", "orm", kills=50, registrations=1000),
    # Fewer each, for the minutes they take: `make soak` runs every set-up in full.
    Run("postgres", "orm", kills=30, registrations=600),
    Run("postgres", "redis", kills=30, registrations=600),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on this pass's database, with every broker it can have."""
    database = metafunc.config.getoption("database")
    runs = [run for run in RUNS if run.database == database]
    assert runs, f"nothing is run on {database}"
    metafunc.parametrize("run", runs, ids=str)


def test_nothing_is_lost_doubled_or_stuck_while_everything_is_killed(
    run: Run, pytestconfig: pytest.Config
) -> None:
    seed = pytestconfig.getoption("randomly_seed")

    result = soak(run, seed)

    assert result["sound"], json.dumps(result, indent=2)
    assert result["kills"] >= run.kills
    assert result["registrations"] >= run.registrations


def soak(run: Run, seed: int) -> dict[str, Any]:
    """Run the command; return its result."""
    options = [f"--{name}={value}" for name, value in {**asdict(run), "seed": seed}.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.soak", *options],
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
