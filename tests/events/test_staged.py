"""Many deliveries are replayed or skipped as one frozen set, a few first, until one fails again."""

from collections.abc import Callable
from threading import Barrier, Thread

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from events.delivery import sweep
from events.interventions import Intervention, InterventionKind, InterventionState, Stage
from events.models import Delivery, DeliveryState
from events.operations import freezing, staged
from events.operations.freezing import (
    AlreadyUnderWay,
    HasGrown,
    NothingToFreeze,
    Shown,
    freeze_group,
    freeze_selection,
)
from events.operations.intervention import skip_delivery
from events.operations.selection import Selection
from events.operations.signature import Unsigned
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.models import Fault
from tests.probe.observe import effects, make_due
from tests.probe.signals import Happened, happened

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = "probe.record"
SIZE = 13

Freeze = Callable[..., Intervention]


@pytest.fixture
def operator() -> User:
    """Return who intervenes."""
    return User.objects.create_user("ada@example.com", "irrelevant")


@pytest.fixture
def dead() -> list[Delivery]:
    """Return dead deliveries of one cause, which stays as it is until its rows are deleted."""
    with transaction.atomic():
        happened.publish_many(Happened(key=f"person {n}", number=n) for n in range(SIZE))
    Fault.objects.bulk_create(Fault(number=n, kind="permanent") for n in range(SIZE))
    Delivery.objects.exclude(receiver=RECORD).delete()
    Delivery.objects.update(
        state=DeliveryState.DEAD, due_at=None, died_at=Now(), fingerprint="f", attempts=1
    )
    return list(Delivery.objects.order_by("pk"))


@pytest.fixture
def freeze(dead: list[Delivery], operator: User) -> Freeze:
    """Return a function that begins an intervention in all of them."""

    def run(kind: InterventionKind = InterventionKind.REPLAY) -> Intervention:
        return freeze_group(
            kind,
            receiver=RECORD,
            fingerprint=dead[0].fingerprint,
            shown=Shown(count=SIZE, at=timezone.now()),
            by=operator,
            reason="mended",
        )

    return run


def mend() -> None:
    """Let the receivers work again."""
    Fault.objects.all().delete()


def advance(intervention: Intervention, drain: Drain, steps: int = 1) -> dict[str, int]:
    """Let workers take so many steps, and run what is due after each. Return the counts then."""
    for _ in range(steps):
        staged.advance_all()
        drain()
    intervention.refresh_from_db()
    return {state: count for state, count in staged.counts_of(intervention).items() if count}


def test_one_is_tried_then_ten_then_all(freeze: Freeze, drain: Drain) -> None:
    mend()
    begun = freeze()

    seen = [advance(begun, drain).get("frozen", 0) for _ in range(8)]

    left = [each for number, each in enumerate(seen) if number == 0 or each != seen[number - 1]]
    assert left == [SIZE - 1, SIZE - 11, 0]
    assert begun.state == InterventionState.THROUGH
    assert begun.ended_at
    assert staged.counts_of(begun)["done"] == SIZE
    assert sorted(effects("record")) == list(range(SIZE))


def test_nothing_more_is_tried_once_the_first_fails_again(freeze: Freeze, drain: Drain) -> None:
    begun = freeze()

    counts = advance(begun, drain, steps=5)

    assert counts == {"failed": 1, "frozen": SIZE - 1}
    assert begun.state == InterventionState.STOPPED
    assert begun.error == "events.retry.PermanentFailure: never"


def test_a_failure_that_will_be_retried_stops_it_too(
    freeze: Freeze, drain: Drain, dead: list[Delivery]
) -> None:
    Fault.objects.update(kind="raise")
    begun = freeze()

    advance(begun, drain, steps=3)

    dead[0].refresh_from_db()
    assert dead[0].state == DeliveryState.PENDING
    assert begun.state == InterventionState.STOPPED
    assert begun.error.startswith("tests.probe.receivers.Broken")


def test_to_go_on_tries_the_next_stage_and_stops_again(
    freeze: Freeze, drain: Drain, operator: User
) -> None:
    begun = freeze()
    advance(begun, drain, steps=2)

    assert staged.go_on(begun.pk, by=operator, reason="maybe only that one")
    counts = advance(begun, drain, steps=4)

    assert (begun.state, begun.stage) == (InterventionState.STOPPED, Stage.TEN)
    assert counts == {"failed": 11, "frozen": SIZE - 11}
    assert (begun.decided_by, begun.decision) == (operator.email, "maybe only that one")


def test_to_go_on_at_the_last_stage_ends_it_whatever_fails(
    freeze: Freeze, drain: Drain, operator: User
) -> None:
    begun = freeze()
    for _ in range(3):
        advance(begun, drain, steps=4)
        staged.go_on(begun.pk, by=operator, reason="anyway")
    counts = advance(begun, drain, steps=4)

    assert (begun.state, counts) == (InterventionState.THROUGH, {"failed": SIZE})


def test_after_the_mend_a_stopped_one_goes_through(
    freeze: Freeze, drain: Drain, operator: User, dead: list[Delivery]
) -> None:
    begun = freeze()
    advance(begun, drain, steps=2)
    mend()

    staged.go_on(begun.pk, by=operator, reason="mended now")
    counts = advance(begun, drain, steps=7)

    dead[0].refresh_from_db()
    assert (begun.state, counts) == (InterventionState.THROUGH, {"done": SIZE - 1, "failed": 1})
    assert dead[0].state == DeliveryState.DEAD  # of its own: it can be replayed by itself


def test_what_failed_and_then_succeeds_is_done(freeze: Freeze, drain: Drain) -> None:
    Fault.objects.update(kind="raise")
    begun = freeze()
    advance(begun, drain, steps=2)
    mend()

    make_due()
    drain()
    counts = advance(begun, drain)

    assert (begun.state, counts) == (InterventionState.STOPPED, {"done": 1, "frozen": SIZE - 1})


def test_to_give_up_leaves_the_rest_dead(freeze: Freeze, drain: Drain, operator: User) -> None:
    begun = freeze()
    advance(begun, drain, steps=2)

    assert staged.abandon(begun.pk, by=operator, reason="not mended")
    counts = advance(begun, drain, steps=3)

    assert (begun.state, counts) == (
        InterventionState.GIVEN_UP,
        {"failed": 1, "frozen": SIZE - 1},
    )
    assert Delivery.objects.filter(receiver=RECORD, state=DeliveryState.DEAD).count() == SIZE
    assert not staged.abandon(begun.pk, by=operator, reason="again")
    assert not staged.go_on(begun.pk, by=operator, reason="again")


def test_a_skip_gives_up_the_frozen_set(freeze: Freeze, drain: Drain) -> None:
    begun = freeze(InterventionKind.SKIP)

    counts = advance(begun, drain, steps=2)

    assert (begun.state, counts) == (InterventionState.THROUGH, {"done": SIZE})
    skipped = Delivery.objects.filter(receiver=RECORD, state=DeliveryState.SKIPPED)
    assert set(skipped.values_list("skipped_by", "skip_reason")) == {("ada@example.com", "mended")}


def test_what_dies_later_is_not_in_the_set(
    freeze: Freeze, drain: Drain, publish: Publish, misbehave: Misbehave
) -> None:
    begun = freeze()
    fault = misbehave(99, "permanent")
    publish(99, key="later")
    drain()
    mend()
    assert not Fault.objects.filter(pk=fault.pk)

    advance(begun, drain, steps=8)

    assert begun.state == InterventionState.THROUGH
    left = Delivery.objects.get(receiver=RECORD, state=DeliveryState.DEAD)
    assert left.key == "later"


def test_what_others_moved_on_is_let_be_and_the_next_is_tried(
    freeze: Freeze, drain: Drain, dead: list[Delivery], operator: User
) -> None:
    begun = freeze()
    skip_delivery(dead[0].pk, by=operator, reason="hopeless")

    counts = advance(begun, drain, steps=3)

    assert counts == {"let_be": 1, "failed": 1, "frozen": SIZE - 2}


def test_it_is_on_record_who_did_it_and_why(
    freeze: Freeze, drain: Drain, dead: list[Delivery], operator: User
) -> None:
    begun = freeze()
    advance(begun, drain, steps=2)
    staged.abandon(begun.pk, by=operator, reason="not mended")

    said = list(LogEntry.objects.order_by("pk").values_list("object_id", "change_message", "user"))

    assert said == [
        (str(begun.pk), f"Began ({SIZE}): mended", operator.pk),
        (str(dead[0].pk), f"Replayed: mended (intervention {begun.pk})", operator.pk),
        (str(begun.pk), "Gave up: not mended", operator.pk),
    ]


# --- What can't begin -----------------------------------------------------------------------------


def test_one_at_a_time(freeze: Freeze) -> None:
    begun = freeze()

    with pytest.raises(AlreadyUnderWay) as refusal:
        freeze()

    assert refusal.value.intervention == begun


def test_of_many_who_press_at_once_one_begins(freeze: Freeze) -> None:
    barrier, outcomes = Barrier(4), []

    def press() -> None:
        barrier.wait()
        try:
            freeze()
        except AlreadyUnderWay:
            outcomes.append("told")
        else:
            outcomes.append("begun")
        finally:
            connection.close()

    threads = [Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["begun", "told", "told", "told"]
    assert Intervention.objects.get().items.count() == SIZE


def test_a_group_that_has_grown_is_shown_anew(dead: list[Delivery], operator: User) -> None:
    shown = Shown(count=SIZE - 1, at=timezone.now())

    with pytest.raises(HasGrown):
        freeze_group(
            InterventionKind.REPLAY,
            receiver=RECORD,
            fingerprint=dead[0].fingerprint,
            shown=shown,
            by=operator,
            reason="x",
        )

    assert not Intervention.objects.exists()
    assert not LogEntry.objects.exists()


def test_nothing_begins_without_deliveries_or_a_reason(
    dead: list[Delivery], operator: User
) -> None:
    nothing = Selection(receiver="probe.call_once", fingerprint="none")
    with pytest.raises(NothingToFreeze):
        freeze_selection(InterventionKind.REPLAY, nothing, by="ada", reason="x")
    with pytest.raises(Unsigned):
        freeze_selection(InterventionKind.REPLAY, Selection(receiver=RECORD), by="ada", reason=" ")

    assert not Intervention.objects.exists()


def test_a_set_has_a_limit(dead: list[Delivery], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezing, "MOST", 5)

    begun = freeze_selection(
        InterventionKind.REPLAY, Selection(receiver=RECORD), by="ada", reason="x"
    )

    assert (begun.size, begun.items.count()) == (5, 5)


# --- Who takes the steps --------------------------------------------------------------------------


def test_the_sweep_takes_a_step(freeze: Freeze) -> None:
    begun = freeze()

    sweep._Sweeper()._sweep()

    assert staged.counts_of(begun)["underway"] == 1


def writes(work: Callable[[], object]) -> list[str]:
    """Return the statements with which something locks or changes rows."""
    with CaptureQueriesContext(connection) as asked:
        work()
    words = ("UPDATE", "INSERT", "DELETE")  # of FOR UPDATE, too
    return [query["sql"] for query in asked if any(word in query["sql"] for word in words)]


def test_one_that_stopped_locks_nothing_until_there_is_news(
    freeze: Freeze, drain: Drain, dead: list[Delivery], operator: User
) -> None:
    begun = freeze()
    advance(begun, drain, steps=2)
    assert begun.state == InterventionState.STOPPED

    assert writes(staged.advance_all) == []

    skip_delivery(dead[0].pk, by=operator, reason="hopeless")
    assert writes(staged.advance_all)
    assert staged.counts_of(begun)["let_be"] == 1
    assert writes(staged.advance_all) == []


def test_one_that_waits_for_what_it_risked_locks_nothing(freeze: Freeze, drain: Drain) -> None:
    mend()
    begun = freeze()
    staged.advance_all()

    assert writes(staged.advance_all) == []
    assert staged.counts_of(begun)["underway"] == 1

    drain()
    assert writes(staged.advance_all)
    assert staged.counts_of(begun)["done"] == 1


def test_steps_at_once_risk_no_more_than_one(freeze: Freeze) -> None:
    begun = freeze()
    barrier = Barrier(4)

    def step() -> None:
        barrier.wait()
        staged.advance_all()
        connection.close()

    threads = [Thread(target=step) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert staged.counts_of(begun)["underway"] == 1


def test_one_that_cannot_go_on_holds_up_no_other(
    freeze: Freeze, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = freeze()
    broken = Intervention.objects.create(
        kind="replay", receiver="a", size=1, asked_by="ada", reason="x"
    )
    Intervention.objects.filter(pk=broken.pk).update(id=0)  # its turn is first
    step = staged.advance

    def fail_on_the_first(pk: int) -> None:
        if pk == 0:
            raise OSError("broken")
        step(pk)

    monkeypatch.setattr(staged, "advance", fail_on_the_first)
    staged.advance_all()

    assert staged.counts_of(begun)["underway"] == 1
    assert "Intervention 0 could not go on" in caplog.text
