"""What `make run` takes when nobody does anything: processor and memory, part by part.

    python -m benchmarks.idle [--rounds 5] [--seconds 20] [--warm-up 150]

Starts `manage.py dev`, which is what `make run` runs, with a database of its own in a directory of
its own, waits until it has loaded its demo data and worked it off, and looks at every process.
Memory is PSS: what processes share is counted once, in parts. Linux only.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any

import psutil

from benchmarks.deliveries.contest import cpu_s
from benchmarks.rounds import judged, parser, report, spread
from benchmarks.served import HOST, ROOT
from tests.servers.process import free_port

CPU_TARGET_PERCENT = 6.0
PSS_TARGET_MB = 450.0
START_S = 300.0
# Two minutes after the last event it counts as settled: until then it is looked at again.
WARM_UP_HELP = "seconds, once pages are served"


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=20, help="of each round")
    made.add_argument("--warm-up", type=float, default=150, help=WARM_UP_HELP)
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        rounds = _measure(options, directory)
    parts = sorted({part for each in rounds for part in each})
    by_part = {
        part: {
            figure: spread([each.get(part, {}).get(figure, 0.0) for each in rounds], 2)
            for figure in ("cpu_percent", "pss_mb", "processes")
        }
        for part in parts
    }
    total = by_part["all"]
    judgement = {
        "cpu_percent": judged(total["cpu_percent"]["median"], at_most=CPU_TARGET_PERCENT),
        "pss_mb": judged(total["pss_mb"]["median"], at_most=PSS_TARGET_MB),
    }
    report("idle", options, parts=by_part, judgement=judgement)


def _measure(options: Any, directory: str) -> list[dict[str, dict[str, float]]]:
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    environment |= {"USHER_VAR": directory, "PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "manage.py", "dev"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_until_served(port)
            time.sleep(options.warm_up)
            return [_look(process.pid, options.seconds) for _ in range(options.rounds)]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_until_served(port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        connection = HTTPConnection(HOST, port, timeout=5)
        with suppress(OSError):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.5)
    raise TimeoutError("`manage.py dev` does not serve")


def _look(pid: int, seconds: float) -> dict[str, dict[str, float]]:
    """Return the processor time and memory of each part over some seconds."""
    before = {process: cpu_s(process) for process in _family(pid)}
    began = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    parts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            used_s = cpu_s(process) - before.get(process, 0.0)
            pss_mb = process.memory_full_info().pss / 2**20
            for part in (_part(process, pid), "all"):
                parts[part]["cpu_percent"] += 100 * used_s / elapsed
                parts[part]["pss_mb"] += pss_mb
                parts[part]["processes"] += 1
    return parts


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _part(process: psutil.Process, first: int) -> str:
    """Return what a process is for: its cluster's queue, or its role."""
    if process.pid == first:
        return "dev"
    words = " ".join(process.cmdline())
    if "uvicorn" in words:
        return "web"
    if words.startswith("qcluster"):  # django-q2 gives its processes titles
        return "cluster " + _queue(process)
    return "sweep" if "sweep" in words else "supervisor"


def _queue(process: psutil.Process) -> str:
    """Return the queue in the title of a process of a cluster, or of one that it descends from."""
    for each in (process, *process.parents()):
        words = " ".join(each.cmdline()).split()
        if words[:1] == ["qcluster"] and not words[1].startswith("Process-"):
            return words[1]
    return "unknown"


if __name__ == "__main__":
    main()
