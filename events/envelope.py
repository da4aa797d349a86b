"""What a receiver gets: the facts of one event, with its data as the declared class."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

D = TypeVar("D")

CLOUDEVENTS_VERSION = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[D]):
    """One thing that happened. Immutable; the same id on every delivery of it."""

    id: UUID  # UUIDv7, the id everything else refers to
    position: int  # its place in the log, in the publishers' order per key
    type: str  # "accounts.user_registered"
    version: int  # of the data's shape, from 1
    key: str  # deliveries of one receiver keep their order within a key
    data: D
    occurred_at: datetime
    correlation_id: str  # one per request or command
    causation_id: UUID | None  # the event that caused this one
    trace_parent: str = ""  # the span that published it; empty where nobody traced

    def to_cloudevent(self, source: str) -> dict[str, Any]:
        """Return the event as a structured CloudEvents 1.0 object (JSON types only).

        See https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md.
        """
        extensions = {"causationid": str(self.causation_id)} if self.causation_id else {}
        if self.trace_parent:  # the extension "Distributed Tracing" of CloudEvents
            extensions["traceparent"] = self.trace_parent
        return {
            "specversion": CLOUDEVENTS_VERSION,
            "id": str(self.id),
            "source": source,
            "type": f"{self.type}.v{self.version}",
            "subject": self.key,
            "time": self.occurred_at.isoformat(),
            "datacontenttype": "application/json",
            "partitionkey": self.key,
            "correlationid": self.correlation_id,
            **extensions,
            "data": to_json(self.data),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed(Generic[D]):
    """An event on its way to one target, for the how-manieth time."""

    event: Event[D]
    attempt: int  # from 1


def to_json(data: object) -> Any:
    """Return an event's data as JSON types: ids and times become strings."""
    return msgspec.to_builtins(data)


def from_json(value: Any, data_class: type[D]) -> D:
    """Return recorded JSON as its declared class.

    Fields this release does not know are ignored, so that a newer one may add some.
    Raises msgspec.ValidationError where a field is missing or of another type.
    """
    return msgspec.convert(value, data_class)
