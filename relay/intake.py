"""Events of other systems: which there may be, and what each of them does.

They are CloudEvents 1.0 in JSON, structured or binary. To take another type, write a function that
applies one, in the transaction it is called in, once per message id:

    @takes("usher.something.v1")
    def receive_something(*, message_id: str, data: Any) -> bool: ...
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from django.utils import timezone

from relay import decisions, inbox
from relay.risk import MESSAGE_ID_LENGTH
from relay.source import Incoming

SPECVERSION = "1.0"
STRUCTURED = "application/cloudevents+json"
JSON = "application/json"


class Unacceptable(Exception):
    """Something came in that is no event we take. The text says what is wrong with it."""


class Receive(Protocol):
    """Applies an event's data. Returns False where its message id was applied before."""

    def __call__(self, *, message_id: str, data: Any) -> bool: ...


class Event(msgspec.Struct):
    """What we need of a CloudEvents object. Further attributes are allowed, and not read."""

    specversion: str
    id: str
    type: str
    source: str
    time: datetime | None = None
    data: Any = None


_receivers: dict[str, Receive] = {}


def takes(type_: str) -> Callable[[Receive], Receive]:
    """Register a function for a type of event."""

    def register(function: Receive) -> Receive:
        _receivers[type_] = function
        return function

    return register


def taken_types() -> list[str]:
    """Return the types of events that other systems may send."""
    return sorted(_receivers)


takes("usher.risk_decision.v1")(decisions.receive)


def read(incoming: Incoming) -> Event:
    """Return the event in something that came in. Raises Unacceptable."""
    if incoming.flaw:
        raise Unacceptable(incoming.flaw)
    kind = incoming.content_type.partition(";")[0].strip().lower()
    if kind == STRUCTURED:
        event = _structured(incoming.body)
    elif "id" in incoming.attributes and kind in ("", JSON):
        event = _binary(incoming)
    else:
        raise Unacceptable(f"It is no CloudEvent in JSON; its content type is {kind or 'none'!r}.")
    if event.specversion != SPECVERSION:
        raise Unacceptable(f"It is of CloudEvents {event.specversion!r}, not {SPECVERSION}.")
    if not event.source or not _is_message_id(event.id):
        raise Unacceptable(f"Its source or id is empty, or longer than {MESSAGE_ID_LENGTH}.")
    if event.time and timezone.now() - _aware(event.time) > inbox.window():
        raise Unacceptable("It is so old that nobody knows whether it was applied before.")
    return event


def apply(event: Event) -> bool:
    """Apply an event. Return False where its id was applied before.

    Raises Unacceptable for a type that nobody takes, and ValidationError for wrong data.
    """
    receive = _receivers.get(event.type)
    if receive is None:
        raise Unacceptable(f"Nobody takes {event.type!r}. There are: {', '.join(taken_types())}.")
    if not isinstance(event.data, dict):
        raise Unacceptable("Its data is no JSON object.")
    return receive(message_id=event.id, data=event.data)


def _structured(body: bytes) -> Event:
    try:
        return msgspec.json.decode(body, type=Event)
    except msgspec.MsgspecError as error:
        raise Unacceptable(f"It is no CloudEvent in structured JSON: {error}") from None


def _binary(incoming: Incoming) -> Event:
    try:
        data = json.loads(incoming.body)
        return msgspec.convert({**incoming.attributes, "data": data}, Event)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unacceptable(f"It is no CloudEvent in binary mode: {error}") from None


def _aware(time: datetime) -> datetime:
    return time if timezone.is_aware(time) else timezone.make_aware(time, UTC)


def _is_message_id(text: str) -> bool:
    return 0 < len(text) <= MESSAGE_ID_LENGTH and text.isprintable()
