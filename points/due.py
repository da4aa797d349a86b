"""What time brings to points: they lapse, and rewards that waited are decided."""

from django.utils import timezone

from points.expiry import expire_due
from points.holding import release_due

EVERY_MINUTES = 15
PER_RUN = 5000  # lots, and decisions: some seconds. The rest is for the next run


def settle_due() -> None:
    """Expire what has lapsed, and decide what waited long enough. Workers call this by schedule.

    Nothing depends on when it runs: what has lapsed can not be spent or seen before either.
    """
    now = timezone.now()
    expire_due(now=now, limit=PER_RUN)
    release_due(now=now, limit=PER_RUN)
