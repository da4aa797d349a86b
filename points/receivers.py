"""What points does when something happened elsewhere."""

from collections.abc import Sequence

from accounts.signals import UserRegistered, user_registered
from events.envelope import Event
from events.receivers import background_receiver
from points import services
from points.models import ProcessedEvent


@background_receiver(user_registered, inbox=ProcessedEvent, batch=True)
def reward_inviter(events: Sequence[Event[UserRegistered]]) -> None:
    """Decide whether whoever invited each new user is rewarded."""
    services.reward_inviters(events)
