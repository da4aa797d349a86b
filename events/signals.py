"""Declare an event: `user_registered = EventSignal("accounts.user_registered", …)`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.dispatch import Signal

from events import outbox
from events.envelope import Event, from_json, to_json
from events.models import Event as EventRow

D = TypeVar("D")
Lift: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

_signals: dict[str, "EventSignal[Any]"] = {}


class UnreadableVersion(Exception):
    """An event was recorded in a version that this release cannot read."""

    def __init__(self, type_: str, version: int) -> None:
        super().__init__(
            f"This release cannot read version {version} of {type_}: it is newer, or no function "
            f"lifts it. Deploy the release that can, or declare `upcast(from_version={version})`."
        )


class EventSignal(Signal, Generic[D]):
    """The declaration of one type of event, beside its publisher. A real django Signal.

    A plain `@receiver` hears it after the commit, in the publishing process, best effort:
    `handler(sender, event, **kwargs)`. A `@background_receiver` gets a delivery that survives.
    """

    def __init__(
        self, type: str, *, version: int, data: type[D], key: str, concerns: Sequence[str] = ()
    ) -> None:
        """Declare `type` ("app.past_tense"), the class of its data, and the field that orders it.

        `concerns` are fields that name further people whose open pages show what happened.
        Raises ImproperlyConfigured where the type is declared twice or `data` lacks a field.
        """
        super().__init__()
        for field in (key, *concerns):
            if not is_dataclass(data) or field not in data.__dataclass_fields__:
                raise ImproperlyConfigured(
                    f"{type}: data must be a dataclass with the field {field!r}."
                )
        if _signals.setdefault(type, self) is not self:
            raise ImproperlyConfigured(f"The event type {type!r} is declared twice.")
        self.type = type
        self.version = version
        self.data_class = data
        self.key_field = key
        self.concerned_fields = tuple(concerns)
        self.lifts: dict[int, Lift] = {}  # by the version they lift from
        # The background receivers connected here, with their queues: each is owed a delivery.
        self.queues_by_receiver: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<EventSignal {self.type} v{self.version}>"

    def upcast(self, *, from_version: int) -> Callable[[Lift], Lift]:
        """Connect the decorated function: it lifts JSON data of a version to the next one.

        Recorded events are never rewritten: they are lifted, step by step, whenever they are read.
        Raises ImproperlyConfigured where the version is not an earlier one, or has a function.
        """

        def connect(lift: Lift) -> Lift:
            if not 1 <= from_version < self.version or from_version in self.lifts:
                raise ImproperlyConfigured(
                    f"{self.type}: no function can lift from version {from_version} "
                    f"(the declared version is {self.version}; lifted: {sorted(self.lifts)})."
                )
            self.lifts[from_version] = lift
            return lift

        return connect

    @property
    def readable_versions(self) -> range:
        """The versions whose events this release can read: its own, and what can be lifted."""
        oldest = self.version
        while oldest - 1 in self.lifts:
            oldest -= 1
        return range(oldest, self.version + 1)

    def publish(self, data: D, *, cause: Event[Any] | None = None) -> Event[D]:
        """Record one event and a delivery for each receiver, in the running transaction.

        Two SQL statements. Inside a receiver the cause is the event being handled; a batch
        receiver names it. Raises PublishedOutsideTransaction outside an atomic block.
        """
        return self.publish_many([data], causes=[cause] if cause else None)[0]

    def publish_many(
        self, data: Iterable[D], *, causes: Sequence[Event[Any]] | None = None
    ) -> list[Event[D]]:
        """Record many events at once; `causes` runs parallel to `data`."""
        return outbox.record(self, list(data), causes)

    def to_row(self, data: D) -> dict[str, Any]:
        """Return the columns of an event row that the data determines."""
        return {
            "type": self.type,
            "version": self.version,
            "key": str(getattr(data, self.key_field)),
            "data": to_json(data),
        }

    def read(self, row: EventRow) -> Event[D]:
        """Return a recorded event with its data as the declared class, lifted to its version.

        Raises UnreadableVersion, and msgspec.ValidationError where the data is not of that class.
        """
        return Event(
            id=row.event_id,
            position=row.position,
            type=row.type,
            version=self.version,
            key=row.key,
            data=from_json(self._lifted(row.data, row.version), self.data_class),
            occurred_at=row.occurred_at,
            correlation_id=row.correlation_id,
            causation_id=row.causation_id,
            trace_parent=row.trace_parent,
        )

    def _lifted(self, data: dict[str, Any], version: int) -> dict[str, Any]:
        if version not in self.readable_versions:
            raise UnreadableVersion(self.type, version)
        for step in range(version, self.version):
            data = self.lifts[step](data)
        return data


def all_signals() -> tuple[EventSignal[Any], ...]:
    """Return every declared event signal, in order of type."""
    return tuple(_signals[type_] for type_ in sorted(_signals))


def get_signal(type_: str) -> EventSignal[Any]:
    """Return a signal by type. Raises KeyError where this release declares none."""
    return _signals[type_]
