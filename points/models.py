"""The models of points: rules and decisions, the ledger, and the app's inbox."""

from events.models import AbstractProcessedEvent
from points.funnel_steps import FunnelStep
from points.ledger import Entry, Lot, PointsAccount
from points.rewards import RewardDecision, RewardRule

__all__ = [
    "Entry",
    "FunnelStep",
    "Lot",
    "PointsAccount",
    "ProcessedEvent",
    "RewardDecision",
    "RewardRule",
]


class ProcessedEvent(AbstractProcessedEvent):
    """The events that this app's receivers have applied."""

    class Meta(AbstractProcessedEvent.Meta):
        abstract = False
