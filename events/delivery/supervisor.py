"""Keep one cluster per queue alive, and a sweep: what `manage.py worker` runs."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http.server import HTTPServer
from types import FrameType

from django.db import connections

from events.delivery import broker, liveness, progress, stopping, sweep
from events.delivery.cluster import Cluster
from events.delivery.forked import Forked, Stamp

logger = logging.getLogger(__name__)

WATCH_INTERVAL_S = 1.0
WATCH_PATIENCE_S = 30.0
SWEEP_TURN_S = 300.0  # far beyond the time limits of a connection, and a turn after an outage
SWEEP_PATIENCE_S = 2 * SWEEP_TURN_S  # by then another sweep should have ended a turn
COLLECT_AFTER = 10_000  # new objects: a batch makes some 20,000, hardly any of them in a cycle
IDLE_GRACE_S = 3.0  # for a cluster that runs nothing: it may wait for a process that was killed


class Supervisor:
    """Run clusters for some queues until SIGTERM or SIGINT."""

    def __init__(
        self, queues: Sequence[str], *, grace_s: float, liveness_server: HTTPServer | None = None
    ) -> None:
        self.queues = queues
        self.grace_s = grace_s
        self.clusters = [Cluster(queue) for queue in queues]
        self.watched, self.turn_begun, self.turn_ended = Stamp(), Stamp(), Stamp()
        # A process of its own: a database that hangs must not keep clusters from being watched.
        sweep_run = partial(sweep.sweep_for_ever, self.turn_begun, self.turn_ended, queues)
        self.sweep = Forked("sweep", sweep_run)
        self.children: list[Forked] = [*self.clusters, self.sweep]
        if liveness_server:
            answer = partial(liveness.answer, liveness_server, self.what_is_stuck)
            self.children.append(Forked("liveness", answer))
        self.stopping = False

    def run(self) -> None:
        """Start the clusters and watch them; return when all have stopped."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the end of a child is not told
        stopping.path_of(os.getpid()).unlink(missing_ok=True)  # of a dead one that had our pid
        _prepare_to_fork()
        try:
            for child in self.children:
                child.start()
            logger.info("Serving the queues %s.", ", ".join(self.queues))
            self._watch()
            self._stop_clusters()
        finally:
            self._kill_all()

    def what_is_stuck(self) -> dict[str, str]:
        """Return which loop had no turn for long, by name. Asked by a child, of shared memory.

        A cluster that is down is not among it (it is being started again), nor is a database that
        refuses: a restart would not bring it back.
        """
        ages = {
            "watch": (self.watched.age_s, WATCH_PATIENCE_S),
            "sweep": (self.turn_ended.age_s, SWEEP_PATIENCE_S),
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
            self.watched.renew()
            for cluster in self.clusters:
                cluster.kill_if_stuck()
            self._kill_stuck_sweep()
            for child in self.children:
                child.restart_if_dead()
            _sleep_until(lambda: self.stopping, WATCH_INTERVAL_S)

    def _kill_stuck_sweep(self) -> None:
        if self.turn_begun.age_s > SWEEP_TURN_S:
            logger.error("A turn of the sweep takes %.0f s; killing it.", self.turn_begun.age_s)
            self.sweep.kill()
            self.turn_begun.renew()

    def _stop_clusters(self) -> None:
        with suppress(OSError):  # no disk space: then the drains end after their batch
            stopping.path_of(os.getpid()).touch()
        for cluster in self.clusters:
            cluster.terminate()
        self._wait_for_drains()
        for cluster in self.clusters:
            if cluster.is_draining:
                logger.error("Queue %r did not stop in time and is killed.", cluster.queue)

    def _kill_all(self) -> None:
        for child in self.children:
            child.kill()
        for cluster in self.clusters:
            progress.path_of(os.getpid(), cluster.queue).unlink(missing_ok=True)
        stopping.path_of(os.getpid()).unlink(missing_ok=True)
        logger.info("Stopped.")

    def _wait_for_drains(self) -> None:
        """Return once all clusters have stopped, or once none of them runs a drain any more."""
        idle_s = min(IDLE_GRACE_S, self.grace_s)
        _sleep_until(lambda: not self._any(lambda c: c.is_running), idle_s)
        _sleep_until(lambda: not self._any(lambda c: c.is_draining), self.grace_s - idle_s)

    def _any(self, holds: Callable[[Cluster], bool]) -> bool:
        self.watched.renew()  # who waits for an end is not stuck
        return any(holds(cluster) for cluster in self.clusters)


def _prepare_to_fork() -> None:
    """Leave children nothing that they must not share, and all that they can."""
    broker.load()
    connections.close_all()  # the command's checks may have opened one
    if threading.active_count() > 1:
        names = ", ".join(sorted(thread.name for thread in threading.enumerate()))
        raise RuntimeError(f"The worker forks and must have one thread; it has {names}.")
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def _sleep_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
