"""How to make an event of each type really happen, so that any receiver of it can be tested.

A receiver of a type that is not in the table fails the kit's tests, with a text that says so.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import User
from accounts.services import register as register_account
from accounts.signals import RiskCheckRequested, risk_check_requested
from coupons.models import Campaign
from events.delivery.drain import drain
from events.models import Delivery, Event, ReceiverState
from events.receivers import Receiver
from events.signals import EventSignal
from points.models import RewardRule
from relay import health
from relay import services as relay
from relay.endpoints import DisabledReason
from tests.faults.world import PASSWORD, open_campaign_and_rule
from tests.probe.signals import Happened, happened
from tests.registrations import make_person

_numbers = count(1)


class MissingStimulus(AssertionError):
    """A receiver listens to a type of event that the kit cannot make happen."""

    def __init__(self, type_: str) -> None:
        super().__init__(
            f"The fault tests do not know how to make {type_!r} happen. Add a function that does "
            "to STIMULI in tests/faults/stimuli.py; every receiver of it is then covered."
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """A world in which everything so far is delivered."""

    inviter: User


def set_scene() -> Scene:
    """Return the test's world: an open campaign, a reward rule, and an inviter who has their own.

    It is made when a test first asks for it.
    """
    inviter = User.objects.filter(referral__isnull=True).order_by("registered_at").first()
    return Scene(inviter or open_campaign_and_rule(drain_everything))


def _register(inviter: User | None = None) -> User:
    return register_account(
        email=f"person{next(_numbers)}@example.com",
        password=PASSWORD,
        referral_code=inviter.referral_code if inviter else "",
    ).user


def register_invited(scene: Scene) -> None:
    """Register a person whom the scene's inviter invited: a coupon, a reward, and what follows."""
    _register(scene.inviter)


def sell_out(scene: Scene) -> None:
    """Register a person who gets the last coupon of a campaign, and one who comes too late."""
    yesterday = timezone.now() - timedelta(days=1)
    terms = {"amount": 100, "currency": "EUR", "valid_days": 30, "stock": 1}
    last = Campaign.objects.create(
        name="Last", trigger="registration", status="active", starts_at=yesterday, **terms
    )
    for _ in range(2):
        _register(scene.inviter)
    # It counts for these two: campaigns are judged as they were at the registration.
    Campaign.objects.filter(pk=last.pk).update(ends_at=timezone.now())


def reach_the_cap(scene: Scene) -> None:
    """Register two people invited by somebody whom a rule rewards once."""
    version = RewardRule.objects.count() + 1
    rule = RewardRule.objects.create(version=version, points=100, cap_total=1)
    for _ in range(2):
        _register(scene.inviter)
    RewardRule.objects.filter(pk=rule.pk).update(active_until=timezone.now())


def ask_about_risk(scene: Scene) -> None:
    """Have somebody judged."""
    with transaction.atomic():
        risk_check_requested.publish(
            RiskCheckRequested(user_id=scene.inviter.pk, signals=["disposable_domain"])
        )


def lose_an_endpoint(scene: Scene) -> None:
    """Disable an endpoint, which asked for nothing that happens here."""
    created = relay.create_endpoint(
        name=f"Endpoint {next(_numbers)}",
        url="https://gone.example/",
        event_types=["accounts.account_closed"],
        owner_email="owner@example.com",
    )
    health.disable(created.endpoint, DisabledReason.GONE)


def let_happen(scene: Scene) -> None:
    """Publish one of the probe's events."""
    with transaction.atomic():
        happened.publish(Happened(key=str(uuid4()), number=1))


STIMULI: dict[str, Callable[[Scene], None]] = {
    "accounts.risk_check_requested": ask_about_risk,
    "accounts.user_registered": register_invited,
    "coupons.coupon_issued": register_invited,
    "coupons.coupon_issue_skipped": sell_out,
    "coupons.campaign_sold_out": sell_out,
    "points.points_earned": register_invited,
    "points.reward_skipped": reach_the_cap,
    "relay.endpoint_disabled": lose_an_endpoint,
    "probe.happened": let_happen,
    "probe.followed": let_happen,  # what `record` publishes
}


def provoke(receiver: Receiver, signal: EventSignal[Any], *, times: int = 1) -> list[Delivery]:
    """Make an event happen, once or often, and deliver everything but what this receiver is owed.

    Return its due deliveries. Raises MissingStimulus, and AssertionError where the stimulus of the
    type does not make it happen.
    """
    if signal.type not in STIMULI:
        raise MissingStimulus(signal.type)
    set_scene()
    scene = Scene(make_person())  # who was never rewarded before, or two runs would not compare
    before = Event.objects.filter(type=signal.type).count()
    with paused(receiver):
        for _ in range(times):
            STIMULI[signal.type](scene)
        drain_everything()
    assert Event.objects.filter(type=signal.type).count() >= before + times, (
        f"STIMULI[{signal.type!r}] in tests/faults/stimuli.py did not make it happen."
    )
    owed = Delivery.objects.filter(receiver=receiver.name, due_at__isnull=False)
    return list(owed.order_by("pk"))


@contextmanager
def paused(receiver: Receiver) -> Iterator[None]:
    """Deliver nothing to a receiver during a block."""
    state, _ = ReceiverState.objects.get_or_create(name=receiver.name)
    row = ReceiverState.objects.filter(pk=state.pk)
    row.update(paused_at=timezone.now())
    try:
        yield
    finally:
        row.update(paused_at=None)


def drain_everything() -> int:
    """Run due deliveries of all queues here until nothing is due. Return how many are done."""
    due = Delivery.objects.filter(due_at__lte=Now()).order_by()
    total = 0
    while done := sum(drain(queue) for queue in set(due.values_list("queue", flat=True))):
        total += done
    return total
