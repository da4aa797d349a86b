"""Where traces pass through the backbone. Nobody traces until somebody says how.

A trace is joined by what each event remembers of the span that published it (`trace_parent`, as W3C
Trace Context writes it). Who traces fills that in, and reads it when the event is delivered.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from events.envelope import Event
    from events.models import Event as EventRow

TRACE_PARENT_LENGTH = 55  # https://www.w3.org/TR/trace-context/#traceparent-header


class Tracer(Protocol):
    """What is told of each publishing and each call of a receiver."""

    def publishing(
        self, rows: Sequence["EventRow"], causes: Sequence["Event[Any]"] | None
    ) -> AbstractContextManager[None]:
        """Surround the insertion of events; set each one's `trace_parent` before it."""

    def processing(
        self, receiver: str, events: Sequence["Event[Any]"]
    ) -> AbstractContextManager[None]:
        """Surround one call of a receiver."""

    def current_ids(self) -> tuple[str, str] | None:
        """Return the ids of the trace and of the span that the running code is part of."""


_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Let a tracer be told, or nobody."""
    global _tracer
    _tracer = tracer


def publishing(
    rows: Sequence["EventRow"], causes: Sequence["Event[Any]"] | None
) -> AbstractContextManager[None]:
    """Surround the insertion of events; `causes` runs parallel to them where it is given."""
    return _tracer.publishing(rows, causes) if _tracer else nullcontext()


def processing(receiver: str, events: Sequence["Event[Any]"]) -> AbstractContextManager[None]:
    """Surround one call of a receiver."""
    return _tracer.processing(receiver, events) if _tracer else nullcontext()


def current_ids() -> tuple[str, str] | None:
    """Return the ids of the trace and of the span that the running code is part of, or None."""
    return _tracer.current_ids() if _tracer else None
