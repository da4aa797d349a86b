"""Many events at once."""

from events.models import Event
from tests.probe.signals import Happened, happened


def publish_many(key: str, count: int) -> int:
    """Record so many events about somebody, owed to nobody. Return where the log then ends."""
    rows = Event.objects.bulk_create(
        Event(**happened.to_row(Happened(key=key, number=number)), correlation_id="test")
        for number in range(count)
    )
    return max(row.position for row in rows)
