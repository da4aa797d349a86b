"""Dramatiq over Redis. It acknowledges late by itself."""

import os
import sys

import django
import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import work

THREADS = 4  # in each process; more are slower
if __name__ != "__main__":
    django.setup()
dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))
ACTORS = {
    "coupon": dramatiq.actor(work.coupon),
    "points": dramatiq.actor(work.points),
}


def enqueue(kind: str, event_id: str, user_id: str) -> None:
    """Send a message."""
    ACTORS[kind].send(event_id, user_id)


def workers(processes: int) -> list[list[str]]:
    """Return the commands that work."""
    size = ["--processes", str(processes), "--threads", str(THREADS)]
    module = "benchmarks.peers.dramatiq_redis"
    return [[sys.executable, "-m", "dramatiq", module, *size, "--skip-logging"]]
