"""Keep one cluster per queue alive, and a sweep: what `manage.py worker` runs."""

import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import HTTPServer
from types import FrameType

from django.db import connections

from events.delivery import liveness, stopping, sweep
from events.delivery.children import Child, Stamp
from events.delivery.cluster import Cluster

logger = logging.getLogger(__name__)

WATCH_INTERVAL_S = 1.0
WATCH_PATIENCE_S = 30.0
SWEEP_PATIENCE_S = 300.0  # far beyond the time limits of a database connection
IDLE_GRACE_S = 3.0  # for a cluster that runs nothing: it may wait for a process that was killed


class Supervisor:
    """Run clusters for some queues until SIGTERM or SIGINT."""

    def __init__(
        self, queues: Sequence[str], *, grace_s: float, liveness_server: HTTPServer | None = None
    ) -> None:
        self.queues = queues
        self.grace_s = grace_s
        self.liveness_server = liveness_server
        self.clusters: list[Cluster] = []
        self.others: list[Child] = []
        self.stopping = False
        self.watched = Stamp()
        self.swept = Stamp()

    def run(self) -> None:
        """Start the clusters and watch them; return when all have stopped."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        stopping.path_of(os.getpid()).unlink(missing_ok=True)  # of a dead one that had our pid
        self._prepare_to_fork()
        self.clusters = [Cluster(queue) for queue in self.queues]
        # A process of its own: a database that hangs must not keep clusters from being watched.
        self.sweeper = Child("sweep", partial(sweep.sweep_for_ever, self.swept))
        self.others = [self.sweeper]
        if self.liveness_server:
            answer = partial(liveness.answer, self.liveness_server, self.what_is_stuck)
            self.others.append(Child("liveness", answer))
        logger.info("Serving the queues %s.", ", ".join(self.queues))
        try:
            self._watch()
        finally:
            self._shut_down()

    def what_is_stuck(self) -> dict[str, str]:
        """Return which loop had no turn for long, by name. Asked by a child, of shared memory.

        A cluster that is down is not among it (it is being started again), nor is a database that
        refuses: a restart would not bring it back.
        """
        ages = {
            "watch": (self.watched.age_s, WATCH_PATIENCE_S),
            "sweep": (self.swept.age_s, SWEEP_PATIENCE_S),
        }
        return {
            name: f"no turn for {age_s:.0f} s"
            for name, (age_s, patience_s) in ages.items()
            if age_s > patience_s
        }

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True

    @staticmethod
    def _prepare_to_fork() -> None:
        """Leave children nothing that they must not share, and all that they can."""
        connections.close_all()  # the command's checks may have opened one
        gc.collect()
        gc.freeze()  # a collection in a child would write to, and so copy, every page

    def _watch(self) -> None:
        while not self.stopping:
            self.watched.renew()
            for cluster in self.clusters:
                cluster.kill_if_stuck()
                cluster.restart_if_dead()
            self._kill_stuck_sweep()
            for child in self.others:
                child.restart_if_dead()
            _sleep_until(lambda: self.stopping, WATCH_INTERVAL_S)

    def _kill_stuck_sweep(self) -> None:
        if self.swept.age_s > SWEEP_PATIENCE_S:
            logger.error("The sweep had no turn for %.0f s; killing it.", self.swept.age_s)
            self.sweeper.kill()
            self.swept.renew()

    def _shut_down(self) -> None:
        stopping.path_of(os.getpid()).touch()
        for cluster in self.clusters:
            cluster.terminate()
        self._wait_for_drains()
        for cluster in self.clusters:
            if cluster.is_draining:
                logger.error("Queue %r did not stop in time and is killed.", cluster.queue)
            cluster.forget()
        for child in self.others:
            child.kill()
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


def _sleep_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
