"""Let each process of a cluster bear its role as its name, so that a test can pick one to kill."""

import ctypes
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from django_q import cluster

PR_SET_NAME = 15  # see prctl(2); at most 15 characters
ROLES = ("worker", "pusher", "monitor")


def install() -> None:
    """Name the children of every sentinel this process becomes."""
    if sys.platform == "linux":
        for role in ROLES:
            setattr(cluster, role, _named(role, getattr(cluster, role)))


def _named(role: str, run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def run_named(*args: Any) -> Any:
        ctypes.CDLL(None).prctl(PR_SET_NAME, role.encode())
        return run(*args)

    return run_named
