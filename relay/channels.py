"""The ways by which relay lets events out of the house and in, for the event catalogue.

Out, one for each transport, under its module's name. The modules themselves are not imported: their
libraries take a while, and most processes send nothing.
"""

from collections.abc import Sequence
from typing import Any

from events.operations.catalog import (
    InboundChannel,
    OutboundChannel,
    inbound_channel,
    outbound_channel,
)
from relay.validation import relayable_signals


def _types() -> Sequence[str]:
    return [signal.type for signal in relayable_signals()]


def _declare(transport: str, title: str, description: str, bindings: dict[str, Any]) -> None:
    outbound_channel(
        OutboundChannel(
            name=f"relay.{transport}",
            title=title,
            description=f"{description} At least once, in order per subject.",
            types=_types,
            bindings=bindings,
        )
    )


_declare(
    "webhook",
    "Webhooks",
    "POST to an endpoint's https:// URL, signed by Standard Webhooks: `webhook-id`, "
    "`webhook-timestamp` and `webhook-signature`. Headers `ce-…` repeat the event's attributes. "
    "Any answer of 2xx within 15 s counts.",
    {"http": {}},
)
_declare(
    "amqp",
    "RabbitMQ",
    "Persistent messages to the exchange that the URL names (`?exchange=`), confirmed and routed. "
    "The routing key is the event's type without its version (`accounts.user_registered`). Headers "
    "`cloudEvents:…` repeat the event's attributes.",
    {"amqp": {"is": "routingKey", "exchange": {}, "bindingVersion": "0.3.0"}},
)
_declare(
    "kafka",
    "Kafka",
    "Records in the topic that the URL names (`?topic=`), kept by all in-sync replicas. A record's "
    "key is the event's `partitionkey`. Headers `ce_…` repeat the event's attributes.",
    {"kafka": {"bindingVersion": "0.5.0"}},
)
_declare(
    "nats_jetstream",
    "NATS JetStream",
    "Messages to the subject `PREFIX.TYPE` (`?subject=` is the prefix; the type is without its "
    "version), acknowledged by a stream. `Nats-Msg-Id` is the event's id. Headers `ce-…` repeat "
    "the event's attributes.",
    {"nats": {}},
)
_declare(
    "redis_streams",
    "Redis streams",
    "Entries of the stream that the URL names (`?stream=`), with `id`, `type` (without "
    "its version), `key` and `event`.",
    {"redis": {}},
)
_declare(
    "zeromq",
    "ZeroMQ",
    "Multipart messages to a REP or ROUTER socket, which acknowledges each. They are signed as "
    "webhooks are.",
    {},
)
inbound_channel(
    InboundChannel(
        name="relay.consume",
        title="Decisions of other systems, over a broker",
        description=(
            "`manage.py consume` reads them from a queue of RabbitMQ or a topic of Kafka, in "
            "structured mode as here, or in binary mode. At least once; the same id has one "
            "effect. Types: `usher.risk_decision.v1`."
        ),
        data={
            "usher.risk_decision.v1": {
                "type": "object",
                "required": ["user", "decision", "reason"],
                "additionalProperties": False,
                "properties": {
                    "user": {"type": "string", "format": "uuid"},
                    "decision": {"enum": ["flag", "clear"]},
                    "reason": {"type": "string", "minLength": 1, "maxLength": 200},
                },
            }
        },
        bindings={
            "amqp": {"is": "queue", "queue": {}, "bindingVersion": "0.3.0"},
            "kafka": {"bindingVersion": "0.5.0"},
        },
    )
)
