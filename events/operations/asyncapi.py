"""The event catalogue for programs: as JSON of our own, and as an AsyncAPI 3.0 document.

See https://www.asyncapi.com/docs/reference/specification/v3.0.0.
"""

from dataclasses import asdict
from typing import Any

from events.operations.catalog import (
    REFERENCE,
    Catalogue,
    EventEntry,
    InboundChannel,
    OutboundChannel,
    ReceiverEntry,
)

ASYNCAPI_VERSION = "3.0.0"
CONTENT_TYPE = "application/cloudevents+json"
CLOUDEVENT = "CloudEvent"
INBOUND_CLOUDEVENT = "InboundCloudEvent"

_DESCRIPTION = (
    "What happens in Usher. Channels named like an event are the log inside, in which receivers "
    "find what they are owed; `relay.…` are the ways by which events leave the house, and come in, "
    "as CloudEvents 1.0. Made from the declarations by `manage.py event_catalog --format asyncapi`."
)
_TEXT = {"type": "string"}


def json_of(catalogue: Catalogue) -> dict[str, Any]:
    """Return the catalogue as JSON types. Times are seconds."""
    return {
        "events": [asdict(event) for event in catalogue.events],
        "receivers": [asdict(receiver) for receiver in catalogue.receivers],
        "channels": [
            {"name": c.name, "description": c.description, "types": list(c.types())}
            for c in catalogue.channels
        ],
        "inbound": [
            {"name": c.name, "description": c.description, "types": list(c.data)}
            for c in catalogue.inbound
        ],
        "components": {"schemas": catalogue.schemas},
    }


def asyncapi_of(catalogue: Catalogue) -> dict[str, Any]:
    """Return the catalogue as an AsyncAPI document."""
    versions = {event.type: event.version for event in catalogue.events}
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {"title": "Usher events", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            **{event.type: _channel(event) for event in catalogue.events},
            **{c.name: _outbound(c, versions) for c in catalogue.channels},
            **{c.name: _inbound(c) for c in catalogue.inbound},
        },
        "operations": {
            **{f"{event.type}.publish": _publish(event) for event in catalogue.events},
            **{
                f"{receiver.name}.on.{type_}": _receive(receiver, type_, versions[type_])
                for receiver in catalogue.receivers
                for type_ in receiver.types
            },
            **{f"{c.name}.send": _operation("send", c) for c in catalogue.channels},
            **{f"{c.name}.receive": _operation("receive", c) for c in catalogue.inbound},
        },
        "components": {
            "schemas": {
                CLOUDEVENT: _cloudevent(),
                INBOUND_CLOUDEVENT: _inbound_cloudevent(),
                **catalogue.schemas,
            }
        },
    }


def _channel(event: EventEntry) -> dict[str, Any]:
    return {
        "address": event.type,
        "title": event.type,
        "description": event.description,
        "messages": {f"v{event.version}": _message(event)},
        "x-key": event.key,
        "x-readable-versions": list(event.readable_versions),
    }


def _message(event: EventEntry) -> dict[str, Any]:
    """Return what an event looks like outside: its data in the envelope of CloudEvents."""
    own = {
        "type": "object",
        "properties": {
            "type": {"const": f"{event.type}.v{event.version}"},
            "data": {"$ref": REFERENCE.format(name=event.schema)},
        },
    }
    return {
        "name": f"{event.type}.v{event.version}",
        "title": f"{event.type} v{event.version}",
        "summary": event.description.partition("\n")[0],
        "contentType": CONTENT_TYPE,
        "correlationId": {"location": "$message.payload#/correlationid"},
        "payload": {"allOf": [{"$ref": REFERENCE.format(name=CLOUDEVENT)}, own]},
    }


def _outbound(channel: OutboundChannel, versions: dict[str, int]) -> dict[str, Any]:
    return {
        "address": None,  # each endpoint has its own
        "title": channel.title,
        "description": channel.description,
        "messages": {type_: _reference(type_, versions[type_]) for type_ in channel.types()},
        "bindings": channel.bindings,
    }


def _inbound(channel: InboundChannel) -> dict[str, Any]:
    return {
        "address": None,  # the operator names a queue or topic
        "title": channel.title,
        "description": channel.description,
        "messages": {type_: _incoming(type_, data) for type_, data in channel.data.items()},
        "bindings": channel.bindings,
    }


def _incoming(type_: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return what an event of another system looks like, in structured mode."""
    own = {"type": "object", "properties": {"type": {"const": type_}, "data": data}}
    return {
        "name": type_,
        "title": type_,
        "contentType": CONTENT_TYPE,
        "payload": {"allOf": [{"$ref": REFERENCE.format(name=INBOUND_CLOUDEVENT)}, own]},
    }


def _publish(event: EventEntry) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{event.type}"},
        "title": f"{event.app} publishes {event.type}",
        "messages": [_reference(event.type, event.version)],
        "tags": [{"name": event.app}],
    }


def _receive(receiver: ReceiverEntry, type_: str, version: int) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{type_}"},
        "title": receiver.name,
        "description": receiver.description,
        "messages": [_reference(type_, version)],
        "tags": [{"name": receiver.app}],
        "x-receiver": {
            "queue": receiver.queue,
            "guarantee": receiver.guarantee.value,
            "batch": receiver.batch,
            "time-limit-s": receiver.time_limit_s,
            "retry": asdict(receiver.retry) if receiver.retry else None,
            "is-audited": receiver.is_audited,
        },
    }


def _operation(action: str, channel: OutboundChannel | InboundChannel) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "title": channel.title,
        "tags": [{"name": channel.name.partition(".")[0]}],
    }


def _reference(type_: str, version: int) -> dict[str, str]:
    return {"$ref": f"#/channels/{type_}/messages/v{version}"}


def _cloudevent() -> dict[str, Any]:
    """Return the envelope: what `Event.to_cloudevent` makes."""
    required = ["specversion", "id", "source", "type", "subject", "time"]
    required += ["datacontenttype", "partitionkey", "correlationid", "data"]
    properties: dict[str, Any] = dict.fromkeys(required, _TEXT)
    return {
        "type": "object",
        "description": "The envelope, the same for all events.",
        "required": required,
        "properties": properties
        | {
            "specversion": {"const": "1.0"},
            "id": {**_TEXT, "description": "The same at every attempt: drop what you have had."},
            "subject": {**_TEXT, "description": "The event's key: what it is about."},
            "time": {**_TEXT, "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "causationid": {**_TEXT, "description": "The event that caused it, where one did."},
            "traceparent": {**_TEXT, "description": "The span that published it, where one did."},
            "data": {"type": "object"},
        },
    }


def _inbound_cloudevent() -> dict[str, Any]:
    """Return the envelope of what comes in, of which less is asked than of what leaves."""
    required = ["specversion", "id", "source", "type", "data"]
    properties: dict[str, Any] = {name: {**_TEXT, "minLength": 1} for name in required}
    return {
        "type": "object",
        "description": "The envelope of what other systems send. Further attributes are allowed.",
        "required": required,
        "properties": properties
        | {
            "specversion": {"const": "1.0"},
            "id": {**_TEXT, "minLength": 1, "description": "The same id has one effect."},
            "time": {**_TEXT, "format": "date-time", "description": "When it happened."},
            "data": {"type": "object"},
        },
    }
