"""What the running code is part of: the correlation id, and the event being handled.

Both are context variables: they follow a request through its threads, and requests stay apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from events.envelope import Event

MAX_CORRELATION_ID_LENGTH = 128

_correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
_handled_events: ContextVar[tuple["Event[Any]", ...]] = ContextVar("handled_events", default=())


class UnnamedCause(Exception):
    """A batch receiver published without naming the cause. Pass `cause=` or `causes=`."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def correlation_id() -> str:
    """Return the id that joins everything one request or command sets off; made on first use."""
    current = _correlation_id.get()
    if current is None:
        current = str(uuid4())
        _correlation_id.set(current)
    return current


def peek_correlation_id() -> str:
    """Return the correlation id, or "-" where none was needed so far (for logs)."""
    return _correlation_id.get() or "-"


@contextmanager
def correlated(value: str) -> Iterator[None]:
    """Run a block under the given correlation id."""
    token = _correlation_id.set(value)
    try:
        yield
    finally:
        _correlation_id.reset(token)


@contextmanager
def handling(events: tuple["Event[Any]", ...]) -> Iterator[None]:
    """Run a receiver on these events: what it publishes is caused by them."""
    handled = _handled_events.set(events)
    try:
        with correlated(events[0].correlation_id):
            yield
    finally:
        _handled_events.reset(handled)


def current_cause() -> "Event[Any] | None":
    """Return the one event being handled, or None outside a receiver.

    Raises UnnamedCause inside a batch of several: guessing would tell a wrong story.
    """
    events = _handled_events.get()
    if len(events) > 1:
        raise UnnamedCause
    return events[0] if events else None
