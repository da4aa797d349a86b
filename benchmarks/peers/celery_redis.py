"""Celery over Redis: late acknowledgement, or a killed worker loses what it took."""

import os
import sys

from celery import Celery

from benchmarks.peers import work

app = Celery("peer", broker=os.environ["REDIS_URL"])
app.conf["CELERY_DB_REUSE_MAX"] = 1_000_000  # else every task connects anew, twice
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    task_send_sent_event=False,
    worker_send_task_events=False,
)
_coupon = app.task(work.coupon, name="coupon")
_points = app.task(work.points, name="points")
TASKS = {"coupon": _coupon, "points": _points}


def enqueue(kind: str, event_id: str, user_id: str) -> None:
    """Send a task."""
    TASKS[kind].delay(event_id, user_id)


def workers(processes: int) -> list[list[str]]:
    """Return the commands that work."""
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"]
    application = ["-m", "celery", "-A", "benchmarks.peers.celery_redis:app", "worker"]
    return [[sys.executable, *application, f"--concurrency={processes}", *options]]
