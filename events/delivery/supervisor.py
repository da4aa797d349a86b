"""Keep one cluster per queue alive, and sweep every second: what `manage.py worker` runs."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from django.db import DatabaseError, connection

import events
from events.delivery.sweep import record_receivers, sweep

logger = logging.getLogger(__name__)

SWEEP_INTERVAL_S = 1.0
RESTART_DELAY_S = 1.0
MAX_RESTART_DELAY_S = 30.0
HEALTHY_AFTER_S = 60.0  # a cluster that lived this long starts over with the short delay
ROOT = Path(events.__file__).resolve().parent.parent


class Cluster:
    """One queue's django-q2 cluster, in a session and process group of its own."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.failures = 0
        self.start()

    def start(self) -> None:
        """Start the cluster's processes."""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "events.delivery.cluster", self.queue, str(os.getpid())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
            start_new_session=True,
        )

    @property
    def is_running(self) -> bool:
        """Tell whether the cluster's first process is alive."""
        return self.process.poll() is None

    def restart_if_dead(self) -> None:
        """Start the cluster again once it has ended, later and later while it keeps ending."""
        if self.is_running:
            return
        lived_s = time.monotonic() - self.started_at
        if lived_s > HEALTHY_AFTER_S:
            self.failures = 0
        delay_s = min(RESTART_DELAY_S * 2**self.failures, MAX_RESTART_DELAY_S)
        if lived_s < delay_s:
            return
        self.failures += 1
        logger.error(
            "The cluster of queue %r ended with code %s after %.0f s; starting it again.",
            self.queue,
            self.process.returncode,
            lived_s,
        )
        self.kill()
        self.start()

    def terminate(self) -> None:
        """Ask the cluster to finish what it runs. Only its first process: the others follow it."""
        if self.is_running:
            self.process.terminate()

    def kill(self) -> None:
        """Kill whatever is left of the process group."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


class Supervisor:
    """Run clusters for some queues until SIGTERM or SIGINT."""

    def __init__(self, queues: Sequence[str], *, grace_s: float) -> None:
        self.queues = queues
        self.grace_s = grace_s
        self.clusters: list[Cluster] = []
        self.stopping = False

    def run(self) -> None:
        """Start the clusters and watch them; return when all have stopped."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        self.clusters = [Cluster(queue) for queue in self.queues]
        logger.info("Serving the queues %s.", ", ".join(self.queues))
        try:
            self._watch()
        finally:
            self._shut_down()

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _watch(self) -> None:
        recorded = False
        while not self.stopping:
            for cluster in self.clusters:
                cluster.restart_if_dead()
            recorded = _database_duties(record=not recorded) or recorded
            _sleep_until(lambda: self.stopping, SWEEP_INTERVAL_S)

    def _shut_down(self) -> None:
        for cluster in self.clusters:
            cluster.terminate()
        _sleep_until(lambda: not any(c.is_running for c in self.clusters), self.grace_s)
        for cluster in self.clusters:
            if cluster.is_running:
                logger.error("Queue %r did not stop in time and is killed.", cluster.queue)
            cluster.kill()
        logger.info("Stopped.")


def _database_duties(*, record: bool) -> bool:
    """Sweep once. Return False where the database is away, which the supervisor outlasts."""
    try:
        if record:
            record_receivers()
        sweep()
    except DatabaseError:
        logger.exception("The sweep could not reach the database; trying again.")
        connection.close()
        return False
    return True


def _sleep_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
