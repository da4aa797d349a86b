"""Keep one cluster per queue alive, and sweep every second: what `manage.py worker` runs."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import events
from events.delivery import progress, stopping
from events.delivery.sweep import Sweeper

logger = logging.getLogger(__name__)

WATCH_INTERVAL_S = 1.0
WATCH_PATIENCE_S = 30.0
SWEEP_PATIENCE_S = 300.0  # far beyond the time limits of a database connection
RESTART_DELAY_S = 1.0
MAX_RESTART_DELAY_S = 30.0
MAX_START_S = 320.0
IDLE_GRACE_S = 3.0  # for a cluster that runs nothing: it may wait for a process that was killed
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
        path = progress.path_of(os.getpid(), self.queue)
        self.progress = progress.Progress.create(path, start_s=self._start_s)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "events.delivery.cluster", self.queue, str(os.getpid())],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
                stopping.VARIABLE: str(stopping.path_of(os.getpid())),
                progress.VARIABLE: str(path),
            },
            start_new_session=True,
        )

    @property
    def _start_s(self) -> float:
        """The seconds it may take to come up: more and more, for the machine may just be slow."""
        doubled = max(0, self.failures - 1)
        return min(progress.START_S * 2.0**doubled, MAX_START_S)

    @property
    def is_running(self) -> bool:
        """Tell whether the cluster's first process is alive."""
        return self.process.poll() is None

    @property
    def is_draining(self) -> bool:
        """Tell whether the cluster is alive and delivers something."""
        return self.is_running and self.progress.is_draining()

    def kill_if_stuck(self) -> None:
        """Kill a cluster without progress: django-q2 can freeze with all its processes alive.

        Of a cluster that is well, only the worker whose receiver does not return: it holds none of
        django-q2's locks while it works, and the cluster replaces it.
        """
        for pid in self.progress.overdue_processes() if self.is_running else ():
            logger.error("A receiver in queue %r does not return; killing %d.", self.queue, pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        stuck = self.progress.what_is_stuck() if self.is_running else ""
        if stuck:
            logger.error("The cluster of queue %r is stuck: %s; killing it.", self.queue, stuck)
            self.kill()

    def restart_if_dead(self) -> None:
        """Start the cluster again once it has ended, later and later while it does not come up."""
        if self.is_running:
            return
        lived_s = time.monotonic() - self.started_at
        if self.progress.has_come_up:  # it was killed, and did not fail
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
        try:
            self.start()
        except OSError:  # no process, memory or disk space to be had: the others must not die of it
            logger.exception("The cluster of queue %r could not be started.", self.queue)

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
        # A thread of its own: a database that hangs must not keep clusters from being watched.
        self.sweeper = Sweeper()
        self.watched_at = time.monotonic()

    def run(self) -> None:
        """Start the clusters and watch them; return when all have stopped."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        stopping.path_of(os.getpid()).unlink(missing_ok=True)  # of a dead one that had our pid
        self.clusters = [Cluster(queue) for queue in self.queues]
        self.sweeper.start()
        logger.info("Serving the queues %s.", ", ".join(self.queues))
        try:
            self._watch()
        finally:
            self._shut_down()

    def what_is_stuck(self) -> dict[str, str]:
        """Return what only a restart of the whole worker can mend, by name.

        A cluster that is down is not among it (it is being started again), nor is a database that
        refuses: a restart would not bring it back.
        """
        now = time.monotonic()
        ages = {
            "watch": (now - self.watched_at, WATCH_PATIENCE_S),
            "sweep": (now - self.sweeper.looked_at, SWEEP_PATIENCE_S),
        }
        return {
            name: f"no turn for {age_s:.0f} s"
            for name, (age_s, patience_s) in ages.items()
            if age_s > patience_s
        }

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _watch(self) -> None:
        while not self.stopping:
            self.watched_at = time.monotonic()
            for cluster in self.clusters:
                cluster.kill_if_stuck()
                cluster.restart_if_dead()
            _sleep_until(lambda: self.stopping, WATCH_INTERVAL_S)

    def _shut_down(self) -> None:
        stopping.path_of(os.getpid()).touch()
        for cluster in self.clusters:
            cluster.terminate()
        self._wait_for_drains()
        for cluster in self.clusters:
            if cluster.is_draining:
                logger.error("Queue %r did not stop in time and is killed.", cluster.queue)
            cluster.kill()
            progress.path_of(os.getpid(), cluster.queue).unlink(missing_ok=True)
        stopping.path_of(os.getpid()).unlink(missing_ok=True)
        logger.info("Stopped.")

    def _wait_for_drains(self) -> None:
        """Return once all clusters have stopped, or once none of them runs a drain any more."""
        idle_s = min(IDLE_GRACE_S, self.grace_s)
        _sleep_until(lambda: not self._any(lambda c: c.is_running), idle_s)
        _sleep_until(lambda: not self._any(lambda c: c.is_draining), self.grace_s - idle_s)

    def _any(self, holds: Callable[[Cluster], bool]) -> bool:
        self.watched_at = time.monotonic()  # who waits for an end is not stuck
        return any(holds(cluster) for cluster in self.clusters)


def _sleep_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
