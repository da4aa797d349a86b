"""Fuzz the API: `python -m tests.fuzz --databases sqlite postgres --seeds 1 2 3`.

For every database and seed a new server with the demo in it is called by an owner, a service
account and staff. Prints one JSON document, and exits with 1 where anything was found.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.fuzz.runs import CALLERS, fuzz

SEEDS = (1, 2, 3)


def main() -> int:
    """Run as the arguments say."""
    arguments = _parse()
    runs = list(_runs(arguments))
    result = _summary(runs)
    print(json.dumps(result, indent=2))
    return 0 if result["sound"] else 1


def _runs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield each run, and tell of it at once: all of them take many minutes."""
    for database in arguments.databases:
        for seed in arguments.seeds:
            for run in fuzz(database, seed, arguments.callers, arguments.max_examples):
                told = {name: value for name, value in run.items() if name != "answers"}
                print(json.dumps(told), file=sys.stderr, flush=True)
                yield run


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    databases = ["sqlite", "postgres"]
    parser.add_argument("--databases", nargs="+", choices=databases, default=databases)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--callers", nargs="+", choices=CALLERS, default=CALLERS)
    parser.add_argument("--max-examples", type=int, help="per operation, instead of the file's")
    return parser.parse_args()


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "sound": all(run["exit_code"] == 0 and not run["failures"] for run in runs),
        "cases": sum(run["cases"] for run in runs),
        "failures": sum(run["failures"] for run in runs),
        "statuses": _statuses(runs),
        "runs": runs,
    }


def _statuses(runs: list[dict[str, Any]]) -> dict[str, int]:
    """Return how often each status was answered, over all operations."""
    statuses: Counter[str] = Counter()
    for run in runs:
        for answer, number in run["answers"].items():
            statuses[answer.rpartition(" ")[2]] += number
    return dict(sorted(statuses.items()))


if __name__ == "__main__":
    sys.exit(main())
