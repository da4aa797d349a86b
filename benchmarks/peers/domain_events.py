"""django-domain-events: an outbox with a relay, deliveries claimed in batches and run singly."""

import sys
from dataclasses import dataclass

from django_domain_events import DURABLE, event, fire, receiver

from benchmarks.peers import work


@event(name="peers.CouponOwed")
@dataclass(frozen=True, slots=True)
class CouponOwed:
    """Somebody is owed a coupon."""

    event_id: str
    user_id: str


@event(name="peers.PointsOwed")
@dataclass(frozen=True, slots=True)
class PointsOwed:
    """Somebody is owed points."""

    event_id: str
    user_id: str


@receiver(CouponOwed, mode=DURABLE, key="peers.issue")  # type: ignore[untyped-decorator]
def issue(owed: CouponOwed) -> None:
    """Give a coupon."""
    work.coupon(owed.event_id, owed.user_id)


@receiver(PointsOwed, mode=DURABLE, key="peers.credit")  # type: ignore[untyped-decorator]
def credit(owed: PointsOwed) -> None:
    """Give points."""
    work.points(owed.event_id, owed.user_id)


EVENTS = {"coupon": CouponOwed, "points": PointsOwed}


def enqueue(kind: str, event_id: str, user_id: str) -> None:
    """Record an event, in the running transaction."""
    fire(EVENTS[kind](event_id=event_id, user_id=user_id))


def workers(processes: int) -> list[list[str]]:
    """Return the commands that work."""
    itself = [sys.executable, "-m", "benchmarks.peers", "domain_events"]
    return [[*itself, "manage", "deliver_events"] for _ in range(processes)]
