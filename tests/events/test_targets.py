"""Targeted receivers: owed what somebody addresses to them, called target by target."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries

from events import outbox
from events.delivery import floors, targets
from events.delivery.claim import claim_for_a_target
from events.delivery.clock import database_now
from events.delivery.drain import drain
from events.envelope import Addressed, Event
from events.models import Attempt, Delivery, DeliveryState
from events.operations.missing import undelivered
from events.receivers import (
    Guarantee,
    Receiver,
    background_receiver,
    disconnect_receiver,
    get_receiver,
)
from events.retry import PermanentFailure, RetryIn, RetryLater
from tests.conftest import Publish
from tests.probe.models import ProcessedEvent
from tests.probe.signals import Happened, happened

pytestmark = pytest.mark.django_db(transaction=True)

QUEUE = "posting"
Answer = Callable[[str, Addressed[Happened]], Exception | None]


@dataclass
class Post:
    """What a targeted receiver was given, and how it answers."""

    given: list[tuple[str, int, int]] = field(default_factory=list)  # target, number, attempt
    answer: Answer = lambda target, addressed: None

    def __call__(
        self, target: str, addressed: Sequence[Addressed[Happened]]
    ) -> list[Exception | None]:
        """Note the events and answer."""
        for each in addressed:
            self.given.append((target, each.event.data.number, each.attempt))
        return [self.answer(target, each) for each in addressed]


@pytest.fixture
def post() -> Iterator[Post]:
    """Connect a targeted receiver."""
    post = Post()

    @background_receiver(
        targeted=True, guarantee=Guarantee.AT_LEAST_ONCE, name="probe.post", queue=QUEUE
    )
    def call(target: str, addressed: Any) -> list[Exception | None]:
        return post(target, addressed)

    yield post
    disconnect_receiver("probe.post")


def address(event: Event[Any], *targets: str) -> None:
    """Owe the receiver an event, for some targets."""
    with transaction.atomic():
        outbox.deliver_to(get_receiver("probe.post"), [(event, target) for target in targets])


def states() -> dict[str, str]:
    """Return the states of the deliveries to the receiver, by target."""
    rows = Delivery.objects.filter(receiver="probe.post").order_by("pk")
    return dict(rows.values_list("target", "state"))


def test_an_event_that_nobody_addresses_is_not_owed(post: Post, publish: Publish) -> None:
    publish()

    assert states() == {}
    assert not undelivered(get_receiver("probe.post")).exists()


def test_each_target_gets_what_is_addressed_to_it(post: Post, publish: Publish) -> None:
    first, second = publish(1), publish(2)
    address(first, "a", "b")
    address(second, "b")

    done = drain(QUEUE)

    assert done == 3
    assert sorted(post.given) == [("a", 1, 1), ("b", 1, 1), ("b", 2, 1)]


def test_addressing_twice_owes_once(post: Post, publish: Publish) -> None:
    event = publish(1)
    address(event, "a")

    address(event, "a")
    drain(QUEUE)

    assert post.given == [("a", 1, 1)]


def test_addressing_many_is_one_statement(
    post: Post, publish: Publish, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    event = publish(1)

    with transaction.atomic(), django_assert_num_queries(1):
        outbox.deliver_to(get_receiver("probe.post"), [(event, str(n)) for n in range(20)])

    assert len(states()) == 20


def test_verdicts_are_settled_one_by_one(post: Post, publish: Publish) -> None:
    def judge(target: str, addressed: Addressed[Happened]) -> Exception | None:
        return {
            1: None,
            2: RetryIn(300, "the target is busy"),
            3: PermanentFailure("the target is gone"),
            4: RetryLater(60),
        }[addressed.event.data.number]

    post.answer = judge
    for number in range(1, 5):
        address(publish(number, f"key {number}"), "a")

    drain(QUEUE)

    rows = Delivery.objects.filter(receiver="probe.post").order_by("pk")
    assert list(rows.values_list("state", "attempts")) == [
        (DeliveryState.DONE, 1),
        (DeliveryState.PENDING, 1),
        (DeliveryState.DEAD, 1),
        (DeliveryState.PENDING, 0),
    ]
    assert sorted(Attempt.objects.values_list("error_message", flat=True)) == [
        "the target is busy",
        "the target is gone",
    ]
    retried = rows[1]
    assert retried.due_at is not None
    assert not rows.filter(pk=retried.pk, due_at__lte=Now()).exists()


def test_a_receiver_that_raises_fails_what_it_was_given(post: Post, publish: Publish) -> None:
    def fail(target: str, addressed: Addressed[Happened]) -> Exception | None:
        raise RuntimeError("broken")

    post.answer = fail
    address(publish(1), "a")

    drain(QUEUE)

    assert states() == {"a": DeliveryState.PENDING}
    assert Attempt.objects.get().error_class == "RuntimeError"


@pytest.mark.database("postgres")
def test_a_claim_begins_where_something_was_due(
    post: Post, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "LOOK_FROM_THE_BEGINNING_EVERY_S", 600.0)
    address(publish(1, "a"), "one")
    Delivery.objects.filter(receiver="probe.post").update(due_at=Now() - timedelta(minutes=5))
    address(publish(2, "b"), "one")
    floors.note_first("probe.post", None, database_now())

    claimed = claim_for_a_target(QUEUE, 10, but=())

    assert [delivery.event.data["number"] for delivery in claimed] == [2]


def test_events_of_one_key_reach_a_target_in_order(post: Post, publish: Publish) -> None:
    for number in range(10):
        address(publish(number, f"key {number % 2}"), "a")

    drain(QUEUE)

    for parity in (0, 1):
        numbers = [number for _, number, _ in post.given if number % 2 == parity]
        assert numbers == sorted(numbers)
        assert len(numbers) == 5


def test_what_stands_behind_a_failure_waits(post: Post, publish: Publish) -> None:
    def fail_first(target: str, addressed: Addressed[Happened]) -> Exception | None:
        return RetryIn(300, "no") if addressed.event.data.number == 0 else RetryLater(0)

    post.answer = fail_first
    address(publish(0), "a")
    address(publish(1), "a")
    drain(QUEUE)
    post.answer = lambda target, addressed: None

    drain(QUEUE)

    assert [number for _, number, _ in post.given] == [0, 1]


def test_what_a_call_hands_back_while_the_drain_looks_for_more_is_called_next(
    post: Post, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_looked = threading.Event()

    def hand_second_back(target: str, addressed: Addressed[Happened]) -> Exception | None:
        assert has_looked.wait(20)
        given = [number for _, number, _ in post.given]
        return RetryLater(0) if addressed.event.data.number == 2 and given == [1, 2] else None

    def look_until_the_call_ends(*args: Any, **options: Any) -> list[Delivery]:
        found = claim_for_a_target(*args, **options)
        if not found:
            has_looked.set()
            for thread in calls():
                thread.join()
        return found

    post.answer = hand_second_back
    for number in (1, 2):
        address(publish(number, f"key {number}"), "a")
    monkeypatch.setattr(targets, "claim_for_a_target", look_until_the_call_ends)

    done = drain(QUEUE)

    assert done == 2
    assert [number for _, number, _ in post.given] == [1, 2, 2]


def calls() -> list[threading.Thread]:
    """Return the calls under way."""
    return [each for each in threading.enumerate() if each.name.startswith("probe.post")]


def test_a_target_that_hangs_delays_no_other(post: Post, publish: Publish) -> None:
    others_are_done = threading.Event()

    def hang(target: str, addressed: Addressed[Happened]) -> Exception | None:
        if target == "hanging":
            assert others_are_done.wait(20)
        elif len([t for t, *_ in post.given if t == "prompt"]) == 30:
            others_are_done.set()
        return None

    post.answer = hang
    for number in range(30):
        address(publish(number, f"key {number}"), "hanging", "prompt")

    began = monotonic()
    done = drain(QUEUE)

    assert done == 60
    assert monotonic() - began < 20


@pytest.mark.parametrize(
    ("signals", "options"),
    [
        ((happened,), {"guarantee": Guarantee.AT_LEAST_ONCE}),
        ((), {"inbox": ProcessedEvent}),
    ],
)
def test_a_contradictory_declaration_is_refused(signals: Any, options: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="targeted"):
        background_receiver(*signals, targeted=True, name="probe.wrong", **options)(print)


def test_receivers_are_not_targeted_by_themselves() -> None:
    assert not get_receiver("probe.record").targeted
    assert isinstance(get_receiver("probe.record"), Receiver)
