"""Rounds, medians with their spread, and the report that all benchmarks print."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

ROUNDS = 5


def parser(documentation: str | None, rounds: int = ROUNDS) -> argparse.ArgumentParser:
    """Return a parser that knows `--rounds`, described by the first line of a docstring."""
    made = argparse.ArgumentParser(description=(documentation or "").partition("\n")[0])
    made.add_argument("--rounds", type=int, default=rounds)
    return made


def alternating(contestants: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Return every contestant once in each round, in the opposite order in every other one.

    What a machine does besides, and what it does more of as it gets warm, thus hits all alike.
    """
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            print(f"round {number + 1} of {rounds}: {contestant} …", file=sys.stderr, flush=True)
            yield number, contestant


def paced(things: Iterable[T], per_s: float) -> Iterator[T]:
    """Yield things at a steady rate; what is late by then comes at once."""
    began = time.monotonic()
    for number, thing in enumerate(things):
        time.sleep(max(0.0, began + number / per_s - time.monotonic()))
        yield thing


def spread(values: Sequence[float], digits: int = 1) -> dict[str, Any]:
    """Return the median of rounds, the lowest, the highest, and each."""
    return {
        "median": round(median(values), digits),
        "lowest": round(min(values), digits),
        "highest": round(max(values), digits),
        "rounds": [round(value, digits) for value in values],
    }


def ratio(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    """Return how many times the median of `other` that of `one` is."""
    return round(one["median"] / other["median"], 2) if other["median"] else None


def judged(
    figure: float | None, *, at_least: float | None = None, at_most: float | None = None
) -> dict[str, Any]:
    """Return a figure beside its target."""
    bounds = {"at_least": at_least, "at_most": at_most}
    reached = (
        figure is not None
        and (at_least is None or figure >= at_least)
        and (at_most is None or figure <= at_most)
    )
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return {"figure": figure, **given, "reached": reached}


def apart(measure: Callable[..., T], *arguments: object) -> T:
    """Measure in a process of its own: Django is set up once, for one database."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def report(name: str, options: argparse.Namespace, **figures: Any) -> None:
    """Print the JSON document of a benchmark."""
    chosen = {key: value for key, value in vars(options).items() if key != "output"}
    document = {
        "benchmark": name,
        "command": f"python -m benchmarks.{name} " + " ".join(sys.argv[1:]),
        "options": chosen,
        "machine": machine(),
        **figures,
    }
    print(json.dumps(document, indent=2, default=str, ensure_ascii=False))


def machine() -> dict[str, Any]:
    """Return what ran this, and how busy it was."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
