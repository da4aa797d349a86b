"""`check_invariants` says ok of a healthy world, and names what is broken in a broken one."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import Model
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.standing import flag_account
from coupons.models import Coupon, IssueDecision, ProcessedEvent
from events.delivery.completion import add_missing_deliveries
from events.models import Attempt, Delivery, DeliveryState, Event, ReceiverState
from events.operations.invariants import MAX_EXAMPLES
from events.operations.replay import replay
from events.operations.selection import Selection
from events.outbox import deliver_to
from events.receivers import get_receiver
from points.models import RewardDecision
from tests.conftest import Drain, Misbehave, Publish
from tests.coupons.factories import make_campaign
from tests.faults.world import open_campaign_and_rule, register
from tests.invariants import broken, check, without_constraint
from tests.probe.models import ProcessedEvent as ProbeInbox
from tests.probe.signals import Happened, happened

pytestmark = pytest.mark.django_db(transaction=True)

COUPONS = "coupons.issue_welcome_coupons"
LONG_AGO = timedelta(seconds=61)


@pytest.fixture
def world(drain: Drain) -> User:
    """Return an inviter, in a world where one person was invited and all is delivered."""
    inviter: User = open_campaign_and_rule(drain)
    register("b@example.com", inviter)
    drain()
    return inviter


def change(model: type[Model], **columns: Any) -> Callable[[], None]:
    """Return what changes a column in every row of a table."""
    return lambda: _update(model, columns)


def _update(model: type[Model], columns: dict[str, Any]) -> None:
    model._base_manager.all().update(**columns)


def open_again(state: str, **columns: Any) -> Callable[[], None]:
    """Return what makes finished deliveries unfinished, with their places in their lanes."""
    return change(Delivery, state=state, finished_at=None, **columns)


def forget_the_inbox() -> None:
    """Lose what keeps an event from being applied again."""
    ProcessedEvent.objects.all().delete()


def forget_a_delivery() -> None:
    """Lose a delivery."""
    newest = Delivery.objects.filter(receiver=COUPONS).latest("pk")
    newest.delete()


def count_a_failure_too_many() -> None:
    """Keep a failed attempt that could not be made."""
    Attempt.objects.create(
        delivery=Delivery.objects.latest("pk"),
        number=17,
        started_at=Now(),
        ended_at=Now(),
        error_class="X",
    )


@pytest.mark.parametrize(
    ("harm", "invariant", "said"),
    [
        (change(IssueDecision, event_id=uuid4()), "I6", "coupons.IssueDecision rows name an event"),
        (change(RewardDecision, event_id=uuid4()), "I6", "points.RewardDecision rows name an"),
        (change(Event, causation_id=uuid4()), "I6", "events were caused by an event that does not"),
        (change(Delivery, attempts=17), "I7", "deliveries were attempted more often"),
        (change(Delivery, attempts=0), "I7", "deliveries are done without an attempt"),
        (count_a_failure_too_many, "I7", "failed attempts have a number that no attempt"),
        (open_again("dead"), "I7", "deliveries are dead without an error"),
        (open_again("dead", last_error="x"), "I7", f"deliveries to {COUPONS} were applied, but"),
        (open_again("waiting"), "I7", f"deliveries to {COUPONS} were applied, but are not done"),
        (forget_a_delivery, "I8", f"events have no delivery for {COUPONS}"),
        (forget_the_inbox, "I9", f"deliveries to {COUPONS} are done without a row in its inbox"),
    ],
)
def test_what_is_broken_is_told(
    harm: Callable[[], None], invariant: str, said: str, world: User
) -> None:
    harm()

    found = broken()

    assert set(found) == {invariant}
    assert any(what.startswith(said) for what in found[invariant])


def test_an_entry_of_an_event_that_never_was_is_told(world: User) -> None:
    from tests.points.test_invariants import write

    write(world, 5, event_id=uuid4())

    assert broken() == {"I6": ["points.Entry rows name an event that does not exist"]}


def test_a_second_delivery_is_told(world: User) -> None:
    with without_constraint(Delivery, "delivery_once_per_receiver"):
        again = Delivery.objects.filter(receiver=COUPONS).latest("pk")
        again.pk = None
        again.save(force_insert=True)

        said = "events have several deliveries for one receiver and target"
        assert broken()["I8"] == [said]


def test_a_delivery_that_nobody_comes_for_is_stuck(publish: Publish) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.record").update(due_at=Now() - LONG_AGO)

    assert broken() == {"I8": ["deliveries to probe.record are due for over 60 s"]}


def test_a_long_backlog_that_is_being_worked_off_is_not_stuck(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    publish(2)
    Delivery.objects.filter(receiver="probe.record", due_at__isnull=False).update(
        due_at=Now() - LONG_AGO
    )
    # However long the look takes, it was just now.
    Delivery.objects.filter(finished_at__isnull=False).update(
        finished_at=Now() + timedelta(minutes=1)
    )

    assert broken() == {}


def test_a_lease_that_nobody_takes_back_is_stuck(publish: Publish) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.record").update(
        state="running", due_at=None, lease_token=uuid4(), lease_expires_at=Now() - LONG_AGO
    )

    said = "deliveries are running under a lease that ended over 60 s ago"
    assert broken() == {"I8": [said]}


@pytest.mark.parametrize("due_in", [timedelta(0), timedelta(hours=1)])
def test_at_rest_nothing_may_be_left_to_do(publish: Publish, due_in: timedelta) -> None:
    publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    Delivery.objects.update(due_at=Now() + due_in)

    assert broken() == {}
    assert broken("--at-rest") == {"I8": ["deliveries to probe.record are still pending"]}


def test_at_rest_nothing_may_run(publish: Publish) -> None:
    publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    Delivery.objects.update(
        state="running", due_at=None, lease_token=uuid4(), lease_expires_at=Now()
    )

    assert broken() == {}
    assert broken("--at-rest") == {"I8": ["deliveries are still running"]}


def test_at_rest_nothing_may_wait_for_nothing(publish: Publish) -> None:
    publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    Delivery.objects.update(state="waiting", due_at=None)

    assert broken("--at-rest") == {"I8": ["deliveries wait though nothing stands before them"]}


def test_a_delivery_that_went_ahead_of_its_lane_is_told(publish: Publish, drain: Drain) -> None:
    publish(1)
    publish(2)
    drain()
    first = Delivery.objects.filter(receiver="probe.record").earliest("position")
    Delivery.objects.filter(pk=first.pk).update(state="dead", finished_at=None, last_error="x")
    ProbeInbox.objects.filter(event_id=first.event_id, receiver="probe.record").delete()

    (finding,) = (i for i in check()["invariants"] if i["breaches"])

    assert finding["id"] == "I10"
    assert finding["breaches"][0]["ids"] == [str(first.pk)]


OVERTAKEN = "done deliveries were overtaken by a later one of their lane"


def done_last(delivery: Delivery) -> None:
    """Let a delivery be done after all others."""
    Delivery.objects.filter(pk=delivery.pk).update(finished_at=Now() + timedelta(seconds=1))


def three_done(publish: Publish, drain: Drain, *, age: timedelta) -> Delivery:
    """Deliver three events of one key, of some time ago; return the delivery of the first."""
    for number in range(3):
        publish(number)
    drain()
    Event.objects.update(occurred_at=Now() - age)
    return Delivery.objects.filter(receiver="probe.record").earliest("position")


def test_done_deliveries_in_another_order_than_their_lanes_are_told(
    publish: Publish, drain: Drain
) -> None:
    first = three_done(publish, drain, age=timedelta(minutes=1))
    assert broken() == {}

    done_last(first)

    (finding,) = (i for i in check()["invariants"] if i["breaches"])
    assert (finding["id"], finding["total"]) == ("I10", 1)
    assert finding["breaches"][0]["what"] == OVERTAKEN
    assert finding["breaches"][0]["ids"] == [str(first.pk)]


def test_what_may_have_been_committed_later_was_not_overtaken(
    publish: Publish, drain: Drain
) -> None:
    done_last(three_done(publish, drain, age=timedelta(seconds=5)))

    # One writer at a time commits in the order of the positions.
    assert broken() == ({"I10": [OVERTAKEN]} if connection.vendor == "sqlite" else {})


def test_a_replayed_delivery_may_be_done_last(publish: Publish, drain: Drain) -> None:
    first = three_done(publish, drain, age=timedelta(minutes=1))
    replay(Selection(state=DeliveryState.DONE, event_id=first.event_id))
    drain()

    assert broken() == {}


@pytest.mark.parametrize("fails", [False, True], ids=["done", "unfinished"])
def test_a_target_may_be_addressed_late(publish: Publish, drain: Drain, fails: bool) -> None:
    first, second = publish(1), publish(2)
    Event.objects.update(occurred_at=Now() - timedelta(minutes=1))
    for event in (second, first):  # the first one's fan-out was skipped, and is replayed
        with transaction.atomic():
            deliver_to(get_receiver("probe.record"), [(event, "a")])
        late = Delivery.objects.filter(event__event_id=event.id, target="a")
        late.update(state=DeliveryState.DONE, due_at=None, finished_at=Now(), attempts=1)
    if fails:
        late.update(state=DeliveryState.PENDING, due_at=Now(), finished_at=None)
    else:
        done_last(late.get())

    found = check()["invariants"]

    assert not next(each for each in found if each["id"] == "I10")["breaches"]


def test_times_of_a_clock_that_was_set_back_tell_nothing(publish: Publish, drain: Drain) -> None:
    three_done(publish, drain, age=timedelta(minutes=1))
    last = Delivery.objects.filter(receiver="probe.record").latest("position")
    Delivery.objects.filter(pk=last.pk).update(finished_at=Now() - timedelta(hours=1))

    assert broken() == {}


def test_a_receiver_is_owed_what_came_since_it_was_seen(publish: Publish, drain: Drain) -> None:
    publish(1)
    Delivery.objects.all().delete()
    state = ReceiverState.objects.create(name="probe.record")

    assert broken() == {}

    publish(2)
    Delivery.objects.filter(receiver="probe.record").delete()
    assert broken() == {"I8": ["events have no delivery for probe.record"]}

    state.pruned_before = Event.objects.latest("position").occurred_at + timedelta(seconds=1)
    state.save()
    assert broken() == {}


def test_what_was_published_before_the_first_worker_came_is_owed(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    lost = publish(2)
    ReceiverState.objects.create(name="probe.record")
    drain()

    Delivery.objects.filter(receiver="probe.record", event__event_id=lost.id).delete()

    assert broken() == {"I8": ["events have no delivery for probe.record"]}


def test_a_healthy_world_in_trouble_is_ok(
    world: User, publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    make_campaign(stock=0)
    make_campaign(status="paused")
    flag_account(user_id=world.pk, reason="by_staff")
    register("c@example.com", world)
    drain()
    replay(Selection(state=DeliveryState.DONE))
    drain()
    replay(Selection(state=DeliveryState.DONE, receiver=COUPONS))
    for number, kind in enumerate(["permanent", "raise", "later"]):
        misbehave(number, kind)
        publish(number, key=kind)
        publish(100 + number, key=kind)
    drain()
    skip_the_dead()
    drain()
    pause_and_publish(publish)
    publish_what_nobody_knows(publish)

    document = check()

    assert [i for i in document["invariants"] if i["breaches"]] == []
    assert {"done", "dead", "pending", "skipped", "waiting"} == set(document["deliveries"])


def skip_the_dead() -> None:
    """Skip the dead of one receiver; their successors may go."""
    dead = Delivery.objects.filter(state="dead", receiver="probe.record_batch")
    keys = list(dead.values_list("key", flat=True))
    dead.update(state="skipped", finished_at=Now(), skipped_by="staff")
    waiting = Delivery.objects.filter(receiver="probe.record_batch", key__in=keys, state="waiting")
    waiting.update(state="pending", due_at=Now())


def pause_and_publish(publish: Publish) -> None:
    """Leave something to a receiver that is paused."""
    publish(200, key="paused")
    Delivery.objects.filter(key="paused").exclude(receiver="probe.call_once").delete()
    Delivery.objects.filter(key="paused").update(due_at=Now() - LONG_AGO)
    ReceiverState.objects.create(name="probe.call_once", paused_at=Now(), paused_by="staff")
    for name in ("probe.record", "probe.record_batch", "probe.call_outside"):
        ReceiverState.objects.create(name=name)
    ReceiverState.objects.update(pruned_before=Now())  # what is gone may have been pruned


def publish_what_nobody_knows(publish: Publish) -> None:
    """Leave a receiver, a type and a version that this release does not know."""
    for unknown in ({"receiver": "gone.away"}, {"type": "gone.happened"}, {"version": 99}):
        event = publish(300, key=f"unknown {unknown}")
        Delivery.objects.filter(event__event_id=event.id).exclude(receiver="probe.record").delete()
        changed = Delivery.objects.filter(event__event_id=event.id)
        changed.update(due_at=Now() - LONG_AGO, **unknown)
        ReceiverState.objects.update(pruned_before=Now())


def test_deliveries_that_were_completed_later_are_ok(publish: Publish, drain: Drain) -> None:
    publish(1)
    publish(2)
    Delivery.objects.filter(receiver="probe.record", position=Event.objects.first().pk).delete()  # type: ignore[union-attr]
    drain()
    add_missing_deliveries(get_receiver("probe.record"), happened_events(), limit=10)
    Delivery.objects.filter(receiver="probe.record", state="pending").update(
        due_at=Now() + timedelta(hours=1)
    )

    assert broken() == {}


def happened_events() -> Any:
    """Return the probe's events."""
    return Event.objects.filter(type=happened.type)


def test_the_number_of_queries_does_not_grow_with_the_rows(world: User, drain: Drain) -> None:
    few = queries_of_a_check()
    people = [register(f"p{number}@example.com", world) for number in range(30)]
    with transaction.atomic():
        happened.publish_many(Happened(key=str(p.pk), number=1) for p in people)
    drain()

    assert queries_of_a_check() == few


def queries_of_a_check() -> int:
    """Return how many statements a check takes."""
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert check()["ok"]
    return len(queries)


def test_many_breaches_are_counted_and_some_are_named(publish: Publish, drain: Drain) -> None:
    for number in range(MAX_EXAMPLES + 2):
        publish(number)
    drain()
    ProbeInbox.objects.filter(receiver="probe.record").delete()

    (finding,) = (i for i in check()["invariants"] if i["breaches"])

    assert finding["id"] == "I9"
    assert finding["total"] == MAX_EXAMPLES + 2
    assert len(finding["breaches"][0]["ids"]) == MAX_EXAMPLES


def test_a_replay_leaves_the_checksum_as_it_is(world: User, drain: Drain) -> None:
    before = check()["checksum"]

    replay(Selection(state=DeliveryState.DONE))
    drain()

    assert check()["checksum"] == before


@pytest.mark.parametrize("changed", [{"status": "revoked"}, {"code": "X"}, {"amount": 1}])
def test_another_effect_has_another_checksum(changed: dict[str, Any], world: User) -> None:
    before = check()
    Coupon.objects.filter(pk=Coupon.objects.latest("pk").pk).update(**changed)
    after = check()

    assert after["checksum"] != before["checksum"]
    differing = {
        name for name, table in after["effects"].items() if table != before["effects"][name]
    }
    assert differing == {"coupons.Coupon"}


def test_the_checksum_is_that_of_the_values_whatever_the_database() -> None:
    make_campaign(id=UUID(int=1), issued_count=7)

    found = check()["effects"]["coupons.Campaign"]

    row = "['00000000-0000-0000-0000-000000000001', '7']"
    assert found == {"rows": 1, "checksum": hashlib.sha256(row.encode()).hexdigest()}


def test_the_text_says_what_is_wrong_and_what_to_do(world: User) -> None:
    out = StringIO()
    forget_the_inbox()

    with pytest.raises(CommandError, match=r"^1 invariants do not hold: I9\.") as failure:
        call_command("check_invariants", stdout=out)

    lines = out.getvalue().splitlines()
    assert failure.value.returncode == 1
    assert lines[0].startswith("I1   not checked  ")
    assert any(line.startswith("I2   ok  ") for line in lines)
    assert any(re.match(r"I9   \d+ BROKEN  ", line) for line in lines)
    assert any("→ Do not replay them" in line for line in lines)
    assert f"deliveries: {Delivery.objects.count()} done" in lines


def test_the_text_of_a_healthy_world_ends_with_a_summary(world: User) -> None:
    out = StringIO()

    call_command("check_invariants", stdout=out)

    last = out.getvalue().splitlines()[-1]
    assert last == "10 invariants hold. Not checked, for want of --history: I1."
