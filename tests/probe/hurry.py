"""Processes whose clock is wrong or whose leases are short, where the environment asks for it."""

import os
import time
from datetime import timedelta

from django.utils import timezone

CLOCK = "PROBE_CLOCK_IS_OFF_BY_S"
LEASE = "PROBE_LEASE_S"

_now, _time = timezone.now, time.time


def set_clock() -> None:
    """Put the wall clock of this process wrong. Called before anything can look at it."""
    off_by_s = float(os.environ.get(CLOCK, "0"))
    if off_by_s:
        timezone.now = lambda: _now() + timedelta(seconds=off_by_s)
        time.time = lambda: _time() + off_by_s


def install() -> None:
    """Shorten the leases of this process."""
    lease_s = os.environ.get(LEASE)
    if lease_s:
        from events.delivery import claim, drain

        claim.LEASE_S = float(lease_s)
        drain.BEGIN_WITHIN_S = float(lease_s) / 3
