"""The way with events: the receivers call the services, each in a queue of its own."""

from dataclasses import dataclass
from uuid import UUID

from benchmarks.signup_four_ways.calls import give
from events.envelope import Event
from events.receivers import Guarantee, background_receiver
from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """Somebody signed up."""

    user_id: UUID


newcomer = EventSignal("fourways.newcomer", version=1, data=Newcomer, key="user_id")


@background_receiver(newcomer, guarantee=Guarantee.AT_LEAST_ONCE, queue="give_coupons")
def give_coupon(event: Event[Newcomer]) -> None:
    """Call the coupon service."""
    give("COUPONS", str(event.data.user_id), key=str(event.id))


@background_receiver(newcomer, guarantee=Guarantee.AT_LEAST_ONCE, queue="give_points")
def give_points(event: Event[Newcomer]) -> None:
    """Call the points service."""
    give("POINTS", str(event.data.user_id), key=str(event.id))
