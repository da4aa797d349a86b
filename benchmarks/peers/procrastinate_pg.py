"""Procrastinate: tasks in PostgreSQL, sent in the publisher's transaction."""

import sys

from procrastinate.contrib.django import app

from benchmarks.peers import work

CONCURRENCY = 4  # in each process
TASKS = {
    "coupon": app.task(work.coupon, name="coupon"),
    "points": app.task(work.points, name="points"),
}


def enqueue(kind: str, event_id: str, user_id: str) -> None:
    """Insert a job."""
    TASKS[kind].defer(event_id=event_id, user_id=user_id)


def workers(processes: int) -> list[list[str]]:
    """Return the commands that work."""
    options = ["--concurrency", str(CONCURRENCY), "--delete-jobs", "successful"]
    command = ["-m", "django", "procrastinate", "worker", *options]
    return [[sys.executable, *command] for _ in range(processes)]
