"""One queue's django-q2 cluster, a child of the supervisor's that says what it is doing."""

import logging
import os
import signal
import time
from contextlib import suppress
from functools import partial

from events.delivery import broker, forked, progress, stopping

logger = logging.getLogger(__name__)

MAX_START_S = 320.0


class Cluster(forked.Forked):
    """Serves one queue."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(f"cluster of queue {queue!r}", partial(_serve, queue, os.getpid()))

    def start(self) -> None:
        """Start the cluster's processes. Raises OSError where they or their file can't be had."""
        self.started_at = self.ended_at = time.monotonic()
        path = progress.path_of(os.getpid(), self.queue)
        self.progress = progress.Progress.create(path, start_s=self._start_s)
        super().start()

    @property
    def _start_s(self) -> float:
        """The seconds it may take to come up: more and more, for the machine may just be slow."""
        doubled = max(0, self.failures - 1)
        return min(progress.START_S * 2.0**doubled, MAX_START_S)

    @property
    def has_come_up(self) -> bool:
        """Tell whether it got so far as to look for bells."""
        return self.progress.has_come_up

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
            logger.error("The %s is stuck: %s; killing it.", self.name, stuck)
            self.kill()


def _serve(queue: str, supervisor_pid: int) -> None:
    """Run the queue's cluster in this process until SIGTERM."""
    os.environ[stopping.VARIABLE] = str(stopping.path_of(supervisor_pid))
    os.environ[progress.VARIABLE] = str(progress.path_of(supervisor_pid, queue))
    broker.run_cluster(queue)
