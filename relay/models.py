"""Endpoints, risk checks, what came in, and the app's inbox."""

from events.models import AbstractProcessedEvent
from relay.endpoints import Endpoint
from relay.parked import ParkedMessage
from relay.risk import ReceivedMessage, RiskCheck

__all__ = ["Endpoint", "ParkedMessage", "ProcessedEvent", "ReceivedMessage", "RiskCheck"]


class ProcessedEvent(AbstractProcessedEvent):
    """The events that this app's receivers have applied."""

    class Meta(AbstractProcessedEvent.Meta):
        abstract = False
