"""The event catalogue: who publishes what, and who reacts how. Read from the declarations alone."""

import ast
import inspect
import io
import tokenize
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from events.operations.audits import audit_of
from events.receivers import Guarantee, Receiver, all_receivers
from events.retry import RetrySchedule
from events.signals import EventSignal, all_signals

REFERENCE = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEntry:
    """One declared type of event."""

    type: str
    version: int
    readable_versions: tuple[int, ...]  # recorded ones are lifted from the older of these
    app: str  # which publishes it
    key: str  # the field of the data that orders deliveries
    description: str
    schema: str  # the name of its data's schema
    receivers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverEntry:
    """One receiver."""

    name: str
    app: str
    description: str
    types: tuple[str, ...]  # of events it listens to; none where it is targeted
    queue: str
    guarantee: Guarantee
    batch: bool
    targeted: bool  # other code decides what it is owed
    time_limit_s: float  # of one call
    retry: RetrySchedule | None  # None: never retried
    is_audited: bool  # `reconcile` knows whether an event had its effect


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundChannel:
    """A way by which events leave the house. The app that sends declares it."""

    name: str  # "relay.webhook"
    title: str
    description: str
    types: Callable[[], Sequence[str]]  # of the events that may go this way
    bindings: dict[str, Any]  # as AsyncAPI 3.0 has them, by protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundChannel:
    """A way by which events of other systems come in. The app that takes them declares it."""

    name: str  # "relay.consume"
    title: str
    description: str
    data: Mapping[str, dict[str, Any]]  # JSON Schemas of what events carry, by their full type
    bindings: dict[str, Any]  # as AsyncAPI 3.0 has them, by protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything declared, in order of name."""

    events: tuple[EventEntry, ...]
    receivers: tuple[ReceiverEntry, ...]
    channels: tuple[OutboundChannel, ...]
    inbound: tuple[InboundChannel, ...]
    schemas: dict[str, dict[str, Any]]  # JSON Schemas of the events' data, by name


_channels: dict[str, OutboundChannel] = {}
_inbound: dict[str, InboundChannel] = {}


def outbound_channel(channel: OutboundChannel) -> None:
    """Declare a way out of the house, once per name."""
    _channels[channel.name] = channel


def inbound_channel(channel: InboundChannel) -> None:
    """Declare a way into the house, once per name."""
    _inbound[channel.name] = channel


def catalogue() -> Catalogue:
    """Return what this release declares. It asks no database."""
    return Catalogue(
        events=tuple(_event(signal) for signal in all_signals()),
        receivers=tuple(_receiver(receiver) for receiver in all_receivers()),
        channels=tuple(_channels[name] for name in sorted(_channels)),
        inbound=tuple(_inbound[name] for name in sorted(_inbound)),
        schemas=_schemas(),
    )


def field_comments(data_class: type[Any]) -> dict[str, str]:
    """Return what the comments beside or above the fields of a class say: units, and what for."""
    source = inspect.cleandoc(inspect.getsource(data_class))
    [declared] = ast.parse(source).body
    if not isinstance(declared, ast.ClassDef):
        return {}
    comments, lines = _comments(source), source.splitlines()
    return {
        field.target.id: text
        for field in declared.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if (text := comments.get(field.end_lineno or 0) or _above(field.lineno, comments, lines))
    }


def _event(signal: EventSignal[Any]) -> EventEntry:
    return EventEntry(
        type=signal.type,
        version=signal.version,
        readable_versions=tuple(signal.readable_versions),
        app=_app_of(signal.type),
        key=signal.key_field,
        description=_description(signal.data_class),
        schema=_schema_name(signal),
        receivers=tuple(sorted(signal.queues_by_receiver)),
    )


def _receiver(receiver: Receiver) -> ReceiverEntry:
    at_most_once = receiver.guarantee is Guarantee.AT_MOST_ONCE
    return ReceiverEntry(
        name=receiver.name,
        app=_app_of(receiver.name),
        description=_description(receiver.function),
        types=tuple(sorted(signal.type for signal in receiver.signals)),
        queue=receiver.queue,
        guarantee=receiver.guarantee,
        batch=receiver.batch,
        targeted=receiver.targeted,
        time_limit_s=receiver.time_limit_s,
        retry=None if at_most_once else receiver.retry,
        is_audited=audit_of(receiver.name) is not None,
    )


def _schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of all data, and of what is in it, by "<app>.<class>"."""
    schemas: dict[str, dict[str, Any]] = {}
    for signal in all_signals():
        app, comments = _app_of(signal.type), field_comments(signal.data_class)
        template = REFERENCE.format(name=f"{app}.{{name}}")
        _, parts = msgspec.json.schema_components([signal.data_class], ref_template=template)
        schemas |= {f"{app}.{name}": part for name, part in parts.items()}
        for name, text in comments.items():
            schemas[_schema_name(signal)]["properties"][name]["description"] = text
    return dict(sorted(schemas.items()))


def _schema_name(signal: EventSignal[Any]) -> str:
    return f"{_app_of(signal.type)}.{signal.data_class.__name__}"


def _app_of(name: str) -> str:
    return name.partition(".")[0]


def _description(declared: Any) -> str:
    """Return a docstring without its line breaks."""
    paragraphs = (inspect.getdoc(declared) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


@cache
def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def _above(line: int, comments: dict[int, str], lines: Sequence[str]) -> str:
    """Return the lines of comment that stand directly above a line."""
    block: list[str] = []
    while (line := line - 1) in comments and lines[line - 1].lstrip().startswith("#"):
        block.insert(0, comments[line])
    return " ".join(block)
