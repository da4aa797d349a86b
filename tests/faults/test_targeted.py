"""What is addressed to another system reaches it, wherever the process that calls it dies.

Each event at least once, the same each time, in the order of its key. The other system is a real
HTTP server of the test's; the process that calls it is a child that dies at a crash point.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from django.db import transaction

from accounts.signals import RiskDecided, UserRegistered, risk_decided, user_registered
from events.delivery import effects, sweep
from events.delivery.claim import claim, claim_for_a_target
from events.delivery.drain import drain
from events.envelope import Event
from events.models import Attempt, Delivery, DeliveryState
from events.receivers import all_receivers, get_receiver
from relay.endpoints import Endpoint
from relay.services import SEND_RECEIVER
from tests.faults.any_receiver import recover
from tests.faults.crashpoints import CRASHPOINTS
from tests.faults.forks import crash, in_child
from tests.faults.scenarios import breaches
from tests.probe.observe import make_due
from tests.processes import wait_until
from tests.registrations import make_people
from tests.relay.arrivals import check_arrivals
from tests.relay.conftest import Subscribe
from tests.relay.conftest import _at_home as _at_home
from tests.relay.conftest import partner as partner
from tests.relay.conftest import subscribe as subscribe
from tests.relay.partner import Handler, Partner, Received, accept

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

QUEUE = "relay"
PEOPLE, EVENTS_EACH = 2, 2
ALL = PEOPLE * EVENTS_EACH
MAX_ATTEMPTS = 3

# Where to die, at which passage, and how many requests the other system has by then.
UNSETTLED = [
    ("call.unclaimed", 1, 0),
    ("attempt.counted", 1, 0),
    ("call.claimed", 1, 0),
    ("call.before", 1, 0),
    ("call.sent", 1, 1),
    ("call.sent", 3, 3),
    ("call.answered", 1, 1),
    ("call.answered", 3, 3),
    ("call.noted", 1, ALL),
    ("call.after", 1, ALL),
    ("verdict.before", 1, ALL),
    ("verdict.uncommitted", 1, ALL),
]
SETTLED = ["lane.asleep", "call.settled"]
WHILE_REFUSED = [
    "call.answered",
    "failure.before",
    "failure.uncommitted",
    "failure.committed",
    "hand-back.before",
    "hand-back.committed",
]
WHILE_RELEASED = ["release.before", "release.uncommitted", "release.committed", "sweep.rung"]

_NAMES = [*(name for name, _, _ in UNSETTLED), *SETTLED, *WHILE_REFUSED, *WHILE_RELEASED]
TRIED = {CRASHPOINTS[name] for name in _NAMES}


@pytest.fixture
def addressed(partner: Partner, subscribe: Subscribe) -> list[Event[RiskDecided]]:
    """Return what the partner is owed: some events of two people, by turns."""
    subscribe(
        partner.url,
        event_types=[risk_decided.type],
        schedule_s=[0],
        max_attempts=MAX_ATTEMPTS,
    )
    return address(PEOPLE, EVENTS_EACH)


def address(people: int, events_each: int) -> list[Event[RiskDecided]]:
    """Publish decisions about people, by turns, and address them to who subscribed."""
    registered = make_people(people)
    decisions = [
        RiskDecided(user_id=person.pk, decision="clear", reason="nothing was found")
        for person in registered * events_each
    ]
    with transaction.atomic():
        user_registered.publish_many(
            [UserRegistered(user_id=person.pk, inviter_id=None) for person in registered]
        )
        events = risk_decided.publish_many(decisions)
    while claimed := claim(QUEUE, 100):
        effects.apply(get_receiver("relay.fan_out"), claimed)
    return events


def serve() -> None:
    """Do what a worker of the queue does."""
    drain(QUEUE)


def refuse(handler: Handler, received: Received) -> None:
    """Answer 503."""
    handler.reply(503)


@contextmanager
def refusing(partner: Partner) -> Iterator[None]:
    """Let the partner refuse everything during a block."""
    partner.answer = refuse
    try:
        yield
    finally:
        partner.answer = accept


def release() -> None:
    """Take the leases of the dead back, with the waiting left out; deliver nothing yet."""
    sweep.sweep()
    make_due()


def sends() -> list[Delivery]:
    """Return the deliveries to endpoints."""
    return list(Delivery.objects.filter(receiver=SEND_RECEIVER).order_by("pk"))


def have_arrived(partner: Partner, number: int) -> bool:
    """Tell whether so many requests have come."""
    return len(partner.received) == number


def check_all_is_done(partner: Partner, events: list[Event[RiskDecided]]) -> None:
    """Check what arrived, that nothing is left to do, and which attempts were counted."""
    check_arrivals(events, messages(partner))
    assert {each.state for each in Delivery.objects.all()} == {DeliveryState.DONE}
    assert all(each.attempts <= MAX_ATTEMPTS for each in sends())
    assert all(each.attempts == 1 + each.failures.count() for each in sends())
    assert breaches("--at-rest") == []


def messages(partner: Partner) -> list[tuple[str, bytes]]:
    """Return the ids and bodies of all requests, as they came."""
    return [(each.headers["webhook-id"], each.body) for each in partner.received]


def test_there_is_no_other_targeted_receiver() -> None:
    targeted = {receiver.name for receiver in all_receivers() if receiver.targeted}

    assert targeted == {SEND_RECEIVER}, "Let this file's tests run for each of them."


@pytest.mark.parametrize(("point", "passage", "arrived"), UNSETTLED)
def test_what_has_no_verdict_when_its_process_dies_is_sent_again(
    addressed: list[Event[RiskDecided]], partner: Partner, point: str, passage: int, arrived: int
) -> None:
    crash(serve, CRASHPOINTS[point], passage)

    wait_until(partial(have_arrived, partner, arrived))
    assert not any(each.state == DeliveryState.DONE for each in sends())
    recover()
    assert len(partner.received) == arrived + ALL
    check_all_is_done(partner, addressed)


@pytest.mark.parametrize("point", SETTLED)
def test_what_has_its_verdict_when_its_process_dies_is_not_sent_again(
    addressed: list[Event[RiskDecided]], partner: Partner, point: str
) -> None:
    crash(serve, CRASHPOINTS[point])

    recover()
    assert len(partner.received) == ALL
    check_all_is_done(partner, addressed)


@pytest.mark.parametrize("point", WHILE_REFUSED)
def test_what_was_refused_when_its_process_died_is_sent_again(
    addressed: list[Event[RiskDecided]], partner: Partner, point: str
) -> None:
    with refusing(partner):
        crash(serve, CRASHPOINTS[point])

    recover()
    assert set(Counter(partner.ids()).values()) <= {1, 2}
    assert len(partner.received) > ALL
    check_all_is_done(partner, addressed)


def test_what_waits_behind_a_call_whose_process_dies_before_waking_it_is_sent(
    addressed: list[Event[RiskDecided]], partner: Partner
) -> None:
    Endpoint.objects.update(schedule_s=[3600])
    with refusing(partner):
        serve()
    assert [each.state for each in sends()].count(DeliveryState.WAITING) == ALL - PEOPLE
    make_due()

    crash(serve, CRASHPOINTS["lane.asleep"])

    recover()
    assert len(partner.received) == 2 * PEOPLE
    sweep.wake_unblocked()  # as the sweep does every few seconds
    recover()
    assert len(partner.received) == PEOPLE + ALL
    check_all_is_done(partner, addressed)


@pytest.mark.parametrize("point", WHILE_RELEASED)
def test_a_sweep_that_dies_releases_a_call_once(
    addressed: list[Event[RiskDecided]], partner: Partner, point: str
) -> None:
    in_child(lambda: claim_for_a_target(QUEUE, 1, but=[]))

    crash(sweep.sweep, CRASHPOINTS[point])

    recover()
    assert Attempt.objects.get().error_class == "WorkerDied"
    assert len(partner.received) == ALL
    check_all_is_done(partner, addressed)


@pytest.mark.parametrize("point", ["call.sent", "call.answered", "verdict.uncommitted"])
def test_a_call_whose_process_dies_each_time_is_counted_each_time(
    partner: Partner, subscribe: Subscribe, point: str
) -> None:
    subscribe(partner.url, event_types=[risk_decided.type], max_attempts=MAX_ATTEMPTS)
    events = address(1, 1)
    for deaths in (1, 2):
        crash(serve, CRASHPOINTS[point])
        wait_until(partial(have_arrived, partner, deaths))
        release()

    recover()

    assert len(partner.received) == 3
    assert [each.attempts for each in sends()] == [3]
    check_all_is_done(partner, events)
