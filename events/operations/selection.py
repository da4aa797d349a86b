"""Which deliveries an operator means."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from events.models import Delivery, DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A choice of deliveries; fields left empty do not narrow it."""

    state: DeliveryState = DeliveryState.DEAD
    receiver: str | None = None
    event_id: UUID | None = None
    type: str | None = None
    since: datetime | None = None  # inclusive, by when the event occurred
    until: datetime | None = None  # exclusive
    key: str | None = None
    fingerprint: str | None = None

    def deliveries(self) -> QuerySet[Delivery]:
        """Return the deliveries chosen, oldest first."""
        conditions = Q(state=self.state)
        for lookup, value in {
            "receiver": self.receiver,
            "event_id": self.event_id,
            "type": self.type,
            "event__occurred_at__gte": self.since,
            "event__occurred_at__lt": self.until,
            "key": self.key,
            "fingerprint": self.fingerprint,
        }.items():
            if value is not None:
                conditions &= Q(**{lookup: value})
        return Delivery.objects.filter(conditions).order_by("pk")
