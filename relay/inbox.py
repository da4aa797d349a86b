"""The inbox of messages: for how long their ids are kept, so that none is applied twice."""

from datetime import timedelta
from functools import partial

from django.conf import settings
from django.utils import timezone

from events.operations.chunks import CHUNK_SIZE, in_short_transaction
from relay.risk import ReceivedMessage


def window() -> timedelta:
    """Return for how long a message's id is known."""
    return timedelta(days=settings.RELAY_INBOX_DAYS)


def prune_received() -> int:
    """Delete what is older than the window, in short transactions. Return how many.

    Nothing that old can come again unseen: a signature is good for five minutes, and `consume`
    parks an event that says it is older.
    """
    total = 0
    while gone := in_short_transaction(partial(_delete, CHUNK_SIZE)):
        total += gone
    return total


def _delete(limit: int) -> int:
    old = ReceivedMessage.objects.filter(received_at__lt=timezone.now() - window())
    ids = list(old.order_by("received_at").values_list("pk", flat=True)[:limit])
    return ReceivedMessage.objects.filter(pk__in=ids).delete()[0]
