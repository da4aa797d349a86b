"""The events that relay publishes."""

from dataclasses import dataclass
from uuid import UUID

from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCheckTimedOut:
    """Nobody has answered a risk check by its deadline. An answer may still come."""

    user_id: UUID
    risk_check_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDisabled:
    """An endpoint gets no more events, because of how it answered. Its owner is told."""

    endpoint_id: UUID
    reason: str  # a relay.endpoints.DisabledReason: "gone" or "failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRequested:
    """Somebody tries an endpoint out. Goes to that endpoint alone."""

    endpoint_id: UUID


risk_check_timed_out = EventSignal(
    "relay.risk_check_timed_out", version=1, data=RiskCheckTimedOut, key="user_id"
)

endpoint_disabled = EventSignal(
    "relay.endpoint_disabled", version=1, data=EndpointDisabled, key="endpoint_id"
)

test_requested = EventSignal(
    "relay.test_requested", version=1, data=TestRequested, key="endpoint_id"
)
