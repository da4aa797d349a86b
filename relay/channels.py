"""The ways by which relay lets events out of the house, for the event catalogue."""

from collections.abc import Sequence

from events.operations.catalog import OutboundChannel, outbound_channel
from relay.transports import amqp, redis_streams
from relay.validation import relayable_signals


def _types() -> Sequence[str]:
    return [signal.type for signal in relayable_signals()]


outbound_channel(
    OutboundChannel(
        name="relay.webhook",
        title="Webhooks",
        description="POST to an endpoint's https:// URL, signed by Standard Webhooks: "
        "`webhook-id`, `webhook-timestamp` and `webhook-signature`. At least once, in order per "
        "subject; any answer of 2xx within 15 s counts.",
        types=_types,
        bindings={"http": {}},
    )
)

outbound_channel(
    OutboundChannel(
        name="relay.amqp",
        title="RabbitMQ",
        description="Persistent messages to an exchange of the partner's "
        f"(`{amqp.DEFAULT_EXCHANGE}` where the URL names none), confirmed; the routing key is the "
        "event's type.",
        types=_types,
        bindings={
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": amqp.DEFAULT_EXCHANGE},
                "bindingVersion": "0.3.0",
            }
        },
    )
)

outbound_channel(
    OutboundChannel(
        name="relay.redis_streams",
        title="Redis streams",
        description=f"Entries of a stream (`{redis_streams.DEFAULT_STREAM}` where the URL names "
        "none) with `id`, `type`, `key` and `event`.",
        types=_types,
        bindings={"redis": {}},
    )
)
