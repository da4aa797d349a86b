"""Run the scenarios, each in a process of its own, and print their figures."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import recovery
from benchmarks.recovery import kills, outages, poison
from benchmarks.recovery.site import Site, site

SCENARIOS: dict[str, Callable[[Site], dict[str, Any]]] = {
    "worker_killed": kills.worker_killed,
    "worker_stopped": kills.worker_stopped,
    "wedged": kills.wedged,
    "broker_down": outages.broker_down,
    "broker_hung": outages.broker_hung,
    "database_down": outages.database_down,
    "database_hung": outages.database_hung,
    **{f"poison_{kind}": partial(poison.poisoned_by, kind) for kind in poison.KINDS},
}
NEEDS = {
    "broker_down": ("broker", "redis"),
    "broker_hung": ("broker", "redis"),
    "database_down": ("database", "postgres"),
    "database_hung": ("database", "postgres"),
}
WORKERS = 1  # per queue; django-q2 freezes most easily with one


def main() -> int:
    """Measure and print; return 1 where a target was missed."""
    options = _options()
    if options.here:
        print(json.dumps(_run_here(options, options.scenarios[0])))
        return 0
    scenarios = {name: _run_apart(options, name) for name in options.scenarios}
    ok = all(_is_ok(figures) for figures in scenarios.values())
    report = {
        "benchmark": "recovery",
        "database": options.database,
        "broker": options.broker,
        "rate_per_s": options.rate,
        "processors": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],  # of the last 1, 5 and 15 minutes
        "ok": ok,
        "scenarios": scenarios,
    }
    print(json.dumps(report, indent=2))
    return 0 if ok else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery",
        description=(recovery.__doc__ or "").partition("\n")[0],
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--broker", choices=["orm", "redis"], default="orm")
    parser.add_argument("--seconds", type=float, default=60, help="how long a broker is away")
    parser.add_argument("--rate", type=float, default=10, help="sign-ups per second")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    possible = [name for name in SCENARIOS if _is_possible(options, name)]
    options.scenarios = options.scenarios or possible
    for name in options.scenarios:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
        if name not in possible:
            option, value = NEEDS[name]
            parser.error(f"{name} needs --{option} {value}")
    return options


def _is_possible(options: argparse.Namespace, name: str) -> bool:
    option, value = NEEDS.get(name, ("", None))
    return value is None or getattr(options, option) == value


def _run_apart(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Run a scenario in a fresh process: Django is set up once per process and database."""
    command = [sys.executable, "-m", "benchmarks.recovery", name, "--here"]
    command += ["--database", options.database, "--broker", options.broker]
    command += ["--seconds", str(options.seconds), "--rate", str(options.rate)]
    print(f"{name} …", file=sys.stderr, flush=True)
    environment = {**os.environ, "EMAIL_URL": "dummymail://"}  # stdout is for the figures
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        return {"ok": False, "error": f"it ended with code {done.returncode}; see stderr"}
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _run_here(options: argparse.Namespace, name: str) -> dict[str, Any]:
    size = {"seconds": options.seconds, "rate_per_s": options.rate, "workers": WORKERS}
    with site(options.database, options.broker, **size) as place:
        return SCENARIOS[name](place)


def _is_ok(figures: dict[str, Any]) -> bool:
    parts = [part for part in figures.values() if isinstance(part, dict)]
    return figures.get("ok", True) and all(_is_ok(part) for part in parts)


if __name__ == "__main__":
    sys.exit(main())
