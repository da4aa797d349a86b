"""What coupons does when something happened elsewhere."""

from collections.abc import Sequence

from accounts.signals import UserRegistered, user_registered
from coupons import services
from coupons.models import ProcessedEvent
from events.envelope import Event
from events.receivers import background_receiver


@background_receiver(user_registered, inbox=ProcessedEvent, batch=True)
def issue_welcome_coupons(events: Sequence[Event[UserRegistered]]) -> None:
    """Decide every live registration campaign for each new user."""
    services.decide_registration_campaigns(events)
