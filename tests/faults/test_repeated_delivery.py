"""A delivery made twice, in turn or at once, yields one coupon and one reward."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.core.management import call_command
from django.db import connection

from coupons.models import Coupon
from events.delivery import claim as claim_module
from events.delivery.claim import claim
from events.delivery.effects import apply
from events.models import Delivery
from events.receivers import get_receiver
from points.models import Entry
from tests.conftest import Drain, Publish
from tests.faults.world import open_campaign_and_rule, register

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

RECEIVERS = {"coupons": "coupons.issue_welcome_coupons", "points": "points.reward_inviter"}


def at_once(work: Callable[[], object], times: int) -> list[object]:
    """Run the same work in threads that start together; return the answers or errors."""
    barrier = Barrier(times)

    def run() -> object:
        barrier.wait()
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return [answer.result() for answer in [pool.submit(run) for _ in range(times)]]


def test_the_same_claim_run_by_several_workers_at_once_applies_once(drain: Drain) -> None:
    inviter = open_campaign_and_rule(drain)
    invitee = register("b@example.com", inviter)

    for queue, receiver in RECEIVERS.items():
        claimed = claim(queue, 10)
        settled = at_once(lambda r=receiver, c=claimed: apply(get_receiver(r), c), times=4)  # type: ignore[misc]
        assert sorted(settled) == [0, 0, 0, 1]  # type: ignore[type-var]

    assert Coupon.objects.filter(user=invitee).count() == 1
    assert Entry.objects.filter(account__user=inviter).count() == 1


def test_several_drains_of_one_queue_share_the_work_without_doubling_it(drain: Drain) -> None:
    inviter = open_campaign_and_rule(drain)
    people = [register(f"b{number}@example.com", inviter) for number in range(20)]

    at_once(drain, times=4)

    assert Coupon.objects.filter(user__in=people).count() == 20
    assert Entry.objects.filter(account__user=inviter).count() == 20
    assert not Delivery.objects.exclude(state="done").exists()


def test_replaying_everything_twice_changes_no_effect(drain: Drain) -> None:
    inviter = open_campaign_and_rule(drain)
    register("b@example.com", inviter)
    drain()
    before = (set(Coupon.objects.values_list("code")), set(Entry.objects.values_list("pk")))

    for _ in range(2):
        call_command("replay", "--state", "done", verbosity=0)
        drain()

    assert before == (set(Coupon.objects.values_list("code")), set(Entry.objects.values_list("pk")))


@pytest.mark.database("postgres")  # SQLite has one writer: no verdict comes in between
def test_what_is_parked_while_its_predecessor_finishes_does_not_wait_for_the_sweep(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(1)
    (first,) = claim_for("record")
    later = publish(2)
    park = claim_module._park

    def park_late(blocked: set[int]) -> None:
        if blocked:
            elsewhere(lambda: apply(get_receiver("probe.record"), [first]))
        park(blocked)

    monkeypatch.setattr(claim_module, "_park", park_late)
    (second,) = claim_for("record")

    assert (second.event_id, second.key) == (later.id, first.key)


def claim_for(receiver: str) -> list[Delivery]:
    """Claim what is due to one of the probe's receivers; the others are owed nothing."""
    Delivery.objects.exclude(receiver=f"probe.{receiver}").delete()
    return claim("probe", 10)


def elsewhere(work: Callable[[], object]) -> None:
    """Run some work on a connection of its own, and wait for it."""
    at_once(work, times=1)
