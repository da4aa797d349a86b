"""The inbox of messages: for how long their ids are kept, so that none is applied twice."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from events.operations.chunks import delete_in_chunks
from relay.risk import ReceivedMessage


def window() -> timedelta:
    """Return for how long a message's id is known."""
    return timedelta(days=settings.RELAY_INBOX_DAYS)


def prune_received() -> int:
    """Delete what is older than the window, some at a time. Return how many.

    Nothing that old can come again unseen: a signature is good for five minutes, and `consume`
    parks an event that says it is older.
    """
    old = ReceivedMessage.objects.filter(received_at__lt=timezone.now() - window())
    return delete_in_chunks(old.order_by("received_at"))
