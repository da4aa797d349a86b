"""Measure and print: see the package."""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psutil

from benchmarks.deliveries.contest import create_database, wait_for
from benchmarks.rounds import alternating, judged, parser, report, spread
from benchmarks.served import HOST, ROOT, percentiles_ms, prepare, server, worker
from benchmarks.servers import DurablePostgres, running
from tests.servers.process import free_port

WAYS = ("inline", "promotion", "threads", "events")
BEHAVIOURS = ("healthy", "slow_200ms", "slow_2s", "failing", "down")
SERVICES = ("COUPONS", "POINTS", "PROMOTION")
QUEUES = ("give_coupons", "give_points")
GRACE_S = 3.0  # between the last registration and the deployment that stops the web server
SETTINGS = "benchmarks.signup_four_ways.settings"
FIGURES = (
    "per_s",
    "p50_ms",
    "p99_ms",
    "success_percent",
    "lost",
    "doubled",
    "for_nobody",
    "memory_mb",
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the table."""

    way: str
    behaviour: str

    def __str__(self) -> str:
        return f"{self.way}, services {self.behaviour}"


def main() -> None:
    """Measure and print."""
    options = _options()
    cells = [Cell(way, behaviour) for way in options.ways for behaviour in options.services]
    measured: dict[Cell, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        database = stack.enter_context(running(DurablePostgres))
        os.environ["DATABASE_URL"] = create_database(database.url, "own")
        os.environ["EMAIL_URL"] = "dummymail://"
        prepare(directory, options.workers, settings=SETTINGS)
        with _services() as controls:
            for _, cell in alternating(cells, options.rounds):
                measured.setdefault(cell, []).append(_measure(options, cell, controls))
    table: dict[str, dict[str, Any]] = {way: {} for way in options.ways}
    for cell, rounds in measured.items():
        table[cell.way][cell.behaviour] = {
            figure: spread([each[figure] for each in rounds]) for figure in FIGURES
        }
    report("signup_four_ways", options, table=table, judgement=_judge(table.get("events", {})))


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=8, help="of registrations, for each field")
    made.add_argument("--clients", type=int, default=8, help="that register at the same time")
    made.add_argument("--workers", type=int, default=2, help="per queue")
    made.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    made.add_argument("--services", nargs="+", choices=BEHAVIOURS, default=BEHAVIOURS)
    return made.parse_args()


@contextmanager
def _services() -> Iterator[dict[str, int]]:
    """Run the three services; return the ports at which they are told how to behave."""
    ports = {name: free_port() for name in SERVICES}
    controls = {name: free_port() for name in SERVICES}
    os.environ.update({f"{name}_PORT": str(port) for name, port in ports.items()})
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.signup_four_ways.service",
                str(ports[name]),
                str(controls[name]),
                *(["promotion"] if name == "PROMOTION" else []),
            ],
            cwd=ROOT,
        )
        for name in SERVICES
    ]
    try:
        for port in controls.values():
            wait_for(lambda port=port: _is_up(port), 1)  # type: ignore[misc]
        yield controls
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _is_up(port: int) -> int:
    try:
        _ask(port, "GET", "/")
    except OSError:
        return 0
    return 1


def _ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _measure(options: argparse.Namespace, cell: Cell, controls: dict[str, int]) -> dict[str, float]:
    """Let people sign up while the services behave as the field says; count what came of it."""
    behaving = [controls["COUPONS"], controls["POINTS"]]
    before = {name: _given(controls[name]) for name in ("COUPONS", "POINTS")}
    with ExitStack() as stack:
        if cell.way == "events":
            stack.enter_context(worker(*QUEUES))
        with server(1, WAY=cell.way) as port:
            _sign_up_for(0.5, port, options.clients)  # warm up, with healthy services
            for control in behaving:
                _ask(control, "POST", f"/{cell.behaviour}")
            with _watched() as memory:
                answers, elapsed_s = _sign_up_for(options.seconds, port, options.clients)
            for control in behaving:
                _ask(control, "POST", "/healthy")
            _settle(cell)
    given = {name: _given(controls[name]) - before[name] for name in before}
    return {
        **_of_answers(answers, elapsed_s),
        **_of_effects(answers, given),
        "memory_mb": max(memory),
    }


def _given(control: int) -> Counter[str]:
    return Counter(json.loads(_ask(control, "GET", "/")[1]))


def _settle(cell: Cell) -> None:
    """Wait until the worker has nothing to do, or as long as a deployment may be away."""
    if cell.way != "events":
        time.sleep(GRACE_S)
        return
    from events.models import Delivery

    owed = Delivery.objects.filter(queue__in=QUEUES, finished_at__isnull=True)
    wait_for(lambda: int(not owed.exists()), 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one client got."""

    seconds: float
    user_id: str  # empty where it was refused


def _sign_up_for(seconds: float, port: int, clients: int) -> tuple[list[Answer], float]:
    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        running_clients = [pool.submit(_client, port, began + seconds) for _ in range(clients)]
        answers = [answer for each in running_clients for answer in each.result()]
    return answers, time.monotonic() - began


def _client(port: int, until: float) -> list[Answer]:
    answers = []
    while (began := time.monotonic()) < until:
        try:
            status, content = _ask(port, "POST", "/sign-up", f"{uuid4().hex}@example.com")
        except OSError:
            status, content = 0, b""
        user_id = json.loads(content)["id"] if status == 201 else ""
        answers.append(Answer(time.monotonic() - began, user_id))
    return answers


@contextmanager
def _watched() -> Iterator[list[float]]:
    """Note the memory of the web server during a block, in MB."""
    over = threading.Event()
    seen = [0.0]

    def look() -> None:
        while not over.is_set():
            seen.append(_memory_of_web_mb())
            over.wait(0.2)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _memory_of_web_mb() -> float:
    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            if "uvicorn" in child.cmdline():
                total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def _of_answers(answers: list[Answer], elapsed_s: float) -> dict[str, float]:
    times = percentiles_ms([answer.seconds for answer in answers])
    accepted = sum(bool(answer.user_id) for answer in answers)
    return {
        "per_s": accepted / elapsed_s,
        "p50_ms": times["p50_ms"],
        "p99_ms": times["p99_ms"],
        "success_percent": 100 * accepted / len(answers),
    }


def _of_effects(answers: list[Answer], given: dict[str, Counter[str]]) -> dict[str, float]:
    """Count effects: two are owed to everybody who was accepted."""
    from django.contrib.auth import get_user_model

    accepted = [answer.user_id for answer in answers if answer.user_id]
    known = {str(pk) for pk in get_user_model().objects.values_list("pk", flat=True)}
    each = list(given.values())
    return {
        "lost": sum(of[user_id] == 0 for of in each for user_id in accepted),
        "doubled": sum(of[user_id] > 1 for of in each for user_id in accepted),
        "for_nobody": sum(user_id not in known for of in each for user_id in of),
    }


def _judge(row: dict[str, Any]) -> dict[str, Any]:
    """Judge the way with events: each field beside the one with healthy services."""
    judgement: dict[str, Any] = {}
    healthy = row.get("healthy")
    for behaviour, figures in row.items():
        judgement[f"{behaviour}_success_percent"] = judged(
            figures["success_percent"]["lowest"], at_least=100
        )
        for figure in ("lost", "doubled"):
            judgement[f"{behaviour}_{figure}"] = judged(figures[figure]["highest"], at_most=0)
        for figure, bound in (("p50_ms", 1.05), ("p99_ms", 1.2)):
            if healthy and behaviour != "healthy":
                times = figures[figure]["median"] / healthy[figure]["median"]
                judgement[f"{behaviour}_{figure}"] = judged(round(times, 3), at_most=bound)
    return judgement


if __name__ == "__main__":
    main()
