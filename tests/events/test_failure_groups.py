"""Dead deliveries are shown by their cause, at a cost that does not grow with their number."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from events.models import Delivery, DeliveryState, Event
from events.operations import bounded
from events.operations.failure_groups import failure_group, failure_groups
from events.operations.replay import replay_chosen
from events.operations.skip import skip_chosen
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)

Kill = Callable[..., None]


@pytest.fixture
def kill() -> Kill:
    """Return a function that makes some dead deliveries of a cause, each of somebody else."""

    def run(count: int, *, receiver: str = "probe.record", fingerprint: str = "f") -> None:
        events = Event.objects.bulk_create(
            Event(type="probe.happened", version=1, key=f"{n}", data={}, correlation_id="test")
            for n in range(count)
        )
        Delivery.objects.bulk_create(
            Delivery(
                event=event,
                receiver=receiver,
                queue="probe",
                type=event.type,
                version=1,
                key=event.key,
                state=DeliveryState.DEAD,
                due_at=None,
                died_at=Now(),
                fingerprint=fingerprint,
                last_error=f"Broken: {fingerprint}",
            )
            for event in events
        )

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

    assert [group.count for group in failure_groups()] == [1]
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
    assert len(asked) == 3
