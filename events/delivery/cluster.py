"""One django-q2 cluster, a process of the supervisor's: `python -m events.delivery.cluster QUEUE`.

It lives in a session of its own, so that its whole process group can be killed, and no process of
it outlives its parent: supervisor, cluster, sentinel, worker.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # see prctl(2)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(queue: str, supervisor_pid: int) -> None:
    """Serve one queue until SIGTERM."""
    die_with_parent()
    if os.getppid() != supervisor_pid:
        sys.exit("The supervisor ended before its cluster began.")
    # A fork does not inherit the setting: without this, killing the sentinel orphans the others.
    os.register_at_fork(after_in_child=die_with_parent)
    os.environ["Q_CLUSTER_NAME"] = queue
    os.environ["USHER_WORKER"] = "1"

    import django
    from django.core.management import call_command

    django.setup()
    call_command("qcluster")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
