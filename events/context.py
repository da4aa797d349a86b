"""What the running code is part of: the correlation id, and the events being handled.

They are context variables: they follow a request through its threads, and requests stay apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from events.envelope import Event
    from events.models import Delivery

MAX_CORRELATION_ID_LENGTH = 128

_correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
_handled_events: ContextVar[tuple["Event[Any]", ...]] = ContextVar("handled_events", default=())


_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_deliveries: ContextVar[tuple["Delivery", ...]] = ContextVar("deliveries", default=())


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
def requested(value: str) -> Iterator[None]:
    """Run a request, under its own id: that is the correlation id of all it sets off."""
    token = _request_id.set(value)
    try:
        with correlated(value):
            yield
    finally:
        _request_id.reset(token)


def request_id() -> str | None:
    """Return the id of the running request, or None in a worker or a command."""
    return _request_id.get()


@contextmanager
def handling(
    events: tuple["Event[Any]", ...], deliveries: tuple["Delivery", ...] = ()
) -> Iterator[None]:
    """Run a receiver on these events: what it publishes is caused by them."""
    handled = _handled_events.set(events)
    try:
        with correlated(events[0].correlation_id), concerning(deliveries):
            yield
    finally:
        _handled_events.reset(handled)


@contextmanager
def concerning(deliveries: tuple["Delivery", ...]) -> Iterator[None]:
    """Do something about these deliveries: what is logged meanwhile says so."""
    token = _deliveries.set(deliveries)
    try:
        yield
    finally:
        _deliveries.reset(token)


def current_deliveries() -> tuple["Delivery", ...]:
    """Return the deliveries that the running code works on; none in a request or command."""
    return _deliveries.get()


def current_cause() -> "Event[Any] | None":
    """Return the one event being handled, or None outside a receiver.

    Raises UnnamedCause inside a batch of several: guessing would tell a wrong story.
    """
    events = _handled_events.get()
    if len(events) > 1:
        raise UnnamedCause
    return events[0] if events else None
