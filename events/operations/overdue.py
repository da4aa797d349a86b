"""Which deliveries nobody comes for, though they are due."""

from datetime import timedelta

from django.db.models import Exists, Q, QuerySet
from django.db.models.functions import Now

from events.delivery.claim import earlier_in_lane
from events.delivery.claimable import claimable_deliveries
from events.models import Delivery
from events.receivers import Receiver

JUST_NOW_S = 2  # between the end of one claim's work and the next claim is less


def overdue(receiver: Receiver, *, by: timedelta) -> QuerySet[Delivery]:
    """Return the heads of an active receiver's lanes that are past their time, and nobody works."""
    due = claimable_deliveries(receiver).filter(due_at__lt=Now() - by)
    return due.filter(~Exists(earlier_in_lane()), ~Exists(_work_just_now(receiver)))


def _work_just_now(receiver: Receiver) -> QuerySet[Delivery]:
    """Return, for a subquery, what a worker does or just did: long backlogs are worked off too."""
    just_now = Now() - timedelta(seconds=JUST_NOW_S)
    working = Q(lease_expires_at__gt=Now()) | Q(finished_at__gt=just_now)
    return Delivery.objects.filter(working, receiver=receiver.name)
