"""Become another program that ends when its parent does: `launch.py PARENT_PID COMMAND …`.

Run as a file of its own, not as a function between fork and exec: the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # see prctl(2); it outlasts the exec


def main(parent_pid: int, command: list[str]) -> None:
    """Have the kernel kill this process with its parent, then become the command."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("The parent ended before its child began.")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
