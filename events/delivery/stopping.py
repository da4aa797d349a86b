"""Tell drains that their worker is being stopped: they end after the delivery they are at.

django-q2 lets running tasks finish when it is stopped, and tells them nothing. The supervisor
touches a file that its clusters know by an environment variable.
"""

import os
from pathlib import Path

from django.conf import settings

VARIABLE = "USHER_STOPPING"


def path_of(supervisor_pid: int) -> Path:
    """Return the file whose existence means that this supervisor is stopping."""
    return Path(settings.VAR_DIR) / f"worker.{supervisor_pid}.stopping"


def is_stopping() -> bool:
    """Tell whether this process's supervisor is stopping."""
    path = os.environ.get(VARIABLE)
    return path is not None and os.path.exists(path)
