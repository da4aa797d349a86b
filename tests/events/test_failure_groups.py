"""What fails is shown by its cause, at a cost that does not grow with its number."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from events.models import Delivery, Event
from events.operations import bounded
from events.operations.failure_groups import failure_group, failure_groups
from events.operations.replay import replay_chosen
from events.operations.skip import skip_chosen
from tests.conftest import Drain, Misbehave, Publish
from tests.plans import plans_of

pytestmark = pytest.mark.django_db(transaction=True)

Kill = Callable[..., None]


def _make(count: int, *, fingerprint: str, **more: Any) -> None:
    events = Event.objects.bulk_create(
        Event(type="probe.happened", version=1, key=f"{n}", data={}, correlation_id="test")
        for n in range(count)
    )
    Delivery.objects.bulk_create(
        Delivery(
            event=event,
            queue="probe",
            type=event.type,
            version=1,
            key=event.key,
            fingerprint=fingerprint,
            last_error=f"Broken: {fingerprint}",
            **({"due_at": None} | more),
        )
        for event in events
    )


@pytest.fixture
def kill() -> Kill:
    """Return a function that makes some dead deliveries of a cause, each of somebody else."""

    def run(count: int, *, receiver: str = "probe.record", fingerprint: str = "f") -> None:
        _make(count, receiver=receiver, fingerprint=fingerprint, state="dead", died_at=Now())

    return run


def test_what_dies_is_in_the_group_of_its_cause(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    publish(1, key="li")
    publish(1, key="mei")
    drain()

    group = failure_groups("probe.record")[0]

    assert (group.count, group.affected, group.is_cut) == (2, 2, False)
    assert group.error == "events.retry.PermanentFailure: never"
    assert group.first_at
    assert group.last_at
    assert group.first_at <= group.last_at
    newest = Delivery.objects.filter(receiver="probe.record").latest("died_at")
    assert group.sample_id == newest.pk
    assert failure_group(group.receiver, group.fingerprint) == group


def test_what_is_replayed_or_skipped_leaves_its_group(kill: Kill) -> None:
    kill(3)
    first, second, _ = Delivery.objects.order_by("pk")

    replay_chosen(Delivery.objects.filter(pk=first.pk))
    skip_chosen(Delivery.objects.filter(pk=second.pk), by="ada", reason="enough")

    assert [(group.count, group.retrying) for group in failure_groups()] == [(1, 1)]
    assert Delivery.objects.filter(died_at__isnull=False).count() == 1


def test_groups_are_told_apart_by_receiver_and_fingerprint(kill: Kill) -> None:
    for receiver, fingerprint, count in (
        ("probe.call_once", "a", 1),
        ("probe.record", "", 2),
        ("probe.record", "a", 3),
        ("probe.record", "b", 4),
    ):
        kill(count, receiver=receiver, fingerprint=fingerprint)

    found = [(group.receiver, group.fingerprint, group.count) for group in failure_groups()]

    assert found == [
        ("probe.call_once", "a", 1),
        ("probe.record", "", 2),
        ("probe.record", "a", 3),
        ("probe.record", "b", 4),
    ]
    assert [group.count for group in failure_groups("probe.call_once")] == [1]
    assert failure_group("probe.call_once", "b") is None
    assert len(failure_groups(limit=2)) == 2


def test_a_group_of_a_former_release_knows_no_times(kill: Kill) -> None:
    kill(2)
    Delivery.objects.update(died_at=None)

    (group,) = failure_groups()

    assert (group.count, group.first_at, group.last_at) == (2, None, None)
    assert group.error == "Broken: f"


def test_the_first_and_the_latest_are_told(kill: Kill) -> None:
    kill(3)
    first = Delivery.objects.order_by("pk")[1]
    Delivery.objects.filter(pk=first.pk).update(died_at=Now() - timedelta(days=1))
    first.refresh_from_db()

    (group,) = failure_groups()

    assert group.first_at == first.died_at
    assert first.died_at
    assert group.last_at
    assert group.last_at > first.died_at


def test_counting_stops_at_a_bound_and_nothing_is_asked_group_by_group(
    kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded.count_up_to, "__defaults__", (5,))
    monkeypatch.setattr(bounded.distinct_up_to, "__defaults__", (5,))
    for fingerprint in "abc":
        kill(9, fingerprint=fingerprint)

    with CaptureQueriesContext(connection) as asked:
        groups = failure_groups()

    assert [(group.count, group.affected) for group in groups] == [(6, 6)] * 3
    assert len(asked) == 4


# --- What is tried again --------------------------------------------------------------------------


def fails(count: int, *, receiver: str = "probe.record", fingerprint: str = "f") -> None:
    """Make some deliveries that failed, each of somebody else, and are to be tried again."""
    _make(count, receiver=receiver, fingerprint=fingerprint, state="pending", due_at=Now())


def test_what_is_tried_again_is_in_the_group_of_its_cause_and_counted_apart(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "raise")
    publish(1, key="li")
    publish(1, key="mei")
    publish(2, key="wu")
    drain()

    group = failure_groups("probe.record")[0]

    assert (group.count, group.retrying, group.affected) == (0, 2, 2)
    earliest = Delivery.objects.filter(receiver="probe.record", state="pending").earliest("due_at")
    assert (group.next_at, group.sample_id) == (earliest.due_at, earliest.pk)
    assert group.error == earliest.last_error
    assert failure_group(group.receiver, group.fingerprint) == group


def test_dead_and_tried_again_of_one_cause_are_one_group(kill: Kill) -> None:
    kill(2)
    fails(3)

    (group,) = failure_groups()

    assert (group.count, group.retrying, group.affected) == (2, 3, 3)  # some may be of both
    assert group.last_at
    assert failure_group("probe.record", "f") == group


def test_what_never_failed_is_in_no_group(publish: Publish) -> None:
    publish(1)

    assert failure_groups() == []
    assert failure_group("probe.record", "") is None


def test_what_is_done_at_last_leaves_its_group(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    fault = misbehave(1, "raise")
    publish(1)
    drain()
    fault.delete()
    Delivery.objects.filter(state="pending").update(due_at=Now())
    drain()

    assert not [group for group in failure_groups() if group.retrying]


def test_of_many_causes_those_that_go_on_are_told_first(kill: Kill) -> None:
    kill(1, receiver="probe.record", fingerprint="z")
    for fingerprint in "abc":
        fails(1, receiver="probe.call_once", fingerprint=fingerprint)

    found = [(group.receiver, group.fingerprint) for group in failure_groups(limit=2)]

    assert found == [("probe.call_once", "a"), ("probe.call_once", "b")]


def test_what_fails_is_read_by_its_index_however_much_waits_or_is_finished(
    kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded.count_up_to, "__defaults__", (5,))
    monkeypatch.setattr(bounded.distinct_up_to, "__defaults__", (5,))
    for fingerprint in "abc":
        kill(1, fingerprint=fingerprint)
        fails(9, fingerprint=fingerprint)

    with CaptureQueriesContext(connection) as asked:
        groups = failure_groups()
    plans = plans_of(failure_groups)

    assert [group.retrying for group in groups] == [6] * 3
    assert len(asked) == 5
    assert sum("delivery_retrying_by_cause" in plan for _, plan in plans) == 3
    assert sum("delivery_dead_by_cause" in plan for _, plan in plans) == 2
    scanned = re.compile(r"SCAN (events_delivery|later|U0)\b(?! USING)|Seq Scan on events_delivery")
    assert [plan for _, plan in plans if scanned.search(plan)] == []
