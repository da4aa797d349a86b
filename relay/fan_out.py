"""Address events to the endpoints that asked for them."""

from collections.abc import Sequence
from typing import Any

from events import outbox
from events.envelope import Event
from events.receivers import Receiver
from relay.endpoints import Endpoint, EndpointState


def fan_out(events: Sequence[Event[Any]], receiver: Receiver) -> None:
    """Owe `receiver` each event once for every enabled endpoint that asked for its type.

    Two statements, however many events and endpoints.
    """
    enabled = Endpoint.objects.filter(state=EndpointState.ENABLED).order_by("pk")
    subscriptions = [
        (str(endpoint_id), set(types))
        for endpoint_id, types in enabled.values_list("pk", "event_types")
    ]
    outbox.deliver_to(
        receiver,
        [
            (event, target)
            for event in events
            for target, types in subscriptions
            if event.type in types
        ],
    )
