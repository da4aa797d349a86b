"""What relay does when something happened: address it, send it, and tell owners of trouble."""

from collections.abc import Sequence
from typing import Any

from accounts.signals import risk_check_requested
from events.envelope import Addressed, Event
from events.receivers import Guarantee, background_receiver, get_receiver
from events.retry import RetrySchedule
from relay import mails, risk_checks, sending
from relay.endpoints import MAX_ATTEMPTS
from relay.fan_out import fan_out as fan_out_events
from relay.models import ProcessedEvent
from relay.services import SEND_RECEIVER
from relay.signals import EndpointDisabled, endpoint_disabled
from relay.transport import TOTAL_S
from relay.validation import relayable_signals


@background_receiver(*relayable_signals(), inbox=ProcessedEvent, batch=True)
def fan_out(events: Sequence[Event[Any]]) -> None:
    """Address each event to the endpoints that asked for its type."""
    risk_checks.open_checks([e for e in events if e.type == risk_check_requested.type])
    fan_out_events(events, get_receiver(SEND_RECEIVER))


@background_receiver(
    targeted=True,
    name=SEND_RECEIVER,
    guarantee=Guarantee.AT_LEAST_ONCE,
    # When it is tried again is for the endpoint to say; this bounds what it may say.
    retry=RetrySchedule(max_attempts=MAX_ATTEMPTS),
    time_limit_s=TOTAL_S + sending.BEGIN_WITHIN_S + 1,
)
def send(target: str, addressed: Sequence[Addressed[Any]]) -> list[Exception | None]:
    """Send events to one endpoint, over whatever its URL says."""
    return sending.send_to(target, addressed)


@background_receiver(endpoint_disabled, guarantee=Guarantee.AT_LEAST_ONCE)
def tell_owner(event: Event[EndpointDisabled]) -> None:
    """Tell an endpoint's owner that it gets no more events."""
    mails.tell_owner(event.data.endpoint_id)
