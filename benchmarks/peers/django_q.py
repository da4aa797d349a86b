"""Stock django-q2, with its own brokers; settings.py tells them apart."""

import sys

from django_q.tasks import async_task


def enqueue(kind: str, event_id: str, user_id: str) -> None:
    """Enqueue a task."""
    async_task(f"benchmarks.peers.work.{kind}", event_id, user_id)


def workers(processes: int) -> list[list[str]]:
    """Return the commands that work. How many processes it makes, settings.py says."""
    return [[sys.executable, "-m", "django", "qcluster"]]
