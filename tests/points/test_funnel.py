"""The invite funnel: counted once per event, rebuilt at any time, read by person and by day."""

from collections import Counter
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import referrals
from accounts.models import User
from events.models import DeliveryState
from events.operations.projections import Rebuilt, rebuild
from events.operations.replay import replay
from events.operations.selection import Selection
from points.funnel import InviteFunnel, days_of_invites, funnel_of, invite_funnel
from points.funnel_steps import FunnelStep
from points.models import ProcessedEvent, RewardDecision
from tests.conftest import Drain
from tests.plans import plans_of
from tests.points.factories import make_rule
from tests.points.test_receiver import register
from tests.probe.observe import make_due
from tests.reconciling import statements

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "points.project_funnel"
EXPECTED = InviteFunnel(registered=3, rewarded=2, refused=1, taken_back=1, points=100)


def steps() -> Counter[Any]:
    """Return how often each step is there."""
    return Counter(FunnelStep.objects.values_list("inviter_id", "kind", "day", "points"))


@pytest.fixture
def inviter(drain: Drain) -> User:
    """Return who invited three people: a cap refuses one, another's referral is void since."""
    make_rule(points=100, cap_total=2)
    mei = register("mei")
    for name in ("tom", "ada", "bob"):
        register(name, inviter=mei)
    drain()
    rewarded = RewardDecision.objects.filter(outcome="granted").first()
    assert rewarded is not None
    referrals.void_referral(invitee_id=rewarded.invitee_id, reason="fraud")
    return mei


def test_once(inviter: User, drain: Drain) -> None:
    drain()

    assert funnel_of(inviter.pk) == EXPECTED


@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(inviter: User, drain: Drain, inbox_is_lost: bool) -> None:
    drain()
    if inbox_is_lost:
        ProcessedEvent.objects.filter(receiver=RECEIVER).delete()
    replay(Selection(state=DeliveryState.DONE, receiver=RECEIVER))

    drain()

    assert funnel_of(inviter.pk) == EXPECTED


def test_crash_then_retry(inviter: User, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("crashed after everything was written")

    with monkeypatch.context() as crashing:
        crashing.setattr("events.delivery.settle.finish", crash)
        drain()
    make_due()
    drain()

    assert funnel_of(inviter.pk) == EXPECTED


def test_what_is_rebuilt_is_what_was_counted_also_with_replays_in_between(
    inviter: User, drain: Drain
) -> None:
    drain()
    counted = steps()
    FunnelStep.objects.all().delete()
    replay(Selection(state=DeliveryState.DONE, receiver=RECEIVER))

    rebuilt = rebuild(invite_funnel)
    drain()

    assert steps() == counted
    assert rebuilt == Rebuilt(events=4, added=4)
    assert rebuild(invite_funnel) == Rebuilt(events=4)


def test_days_are_in_order_and_in_utc(inviter: User, drain: Drain) -> None:
    drain()
    today = timezone.now().astimezone(UTC).date()
    tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
    FunnelStep.objects.filter(kind="taken_back").update(day=yesterday)

    first, second = days_of_invites(since=yesterday, until=tomorrow)

    assert (first.day, first.funnel.taken_back, first.funnel.points) == (yesterday, 1, -100)
    assert (second.funnel.registered, second.funnel.rewarded, second.funnel.refused) == (3, 2, 1)
    assert days_of_invites(since=tomorrow, until=tomorrow) == []


def test_queries_are_few(inviter: User, drain: Drain) -> None:
    drain()
    today = timezone.now().date()

    assert statements(lambda: funnel_of(inviter.pk)) == 2
    assert statements(lambda: days_of_invites(since=today, until=today)) == 2


def test_days_are_read_by_their_time_not_from_all_decisions(inviter: User) -> None:
    today = timezone.now().date()

    plans = plans_of(lambda: days_of_invites(since=today, until=today))

    (plan,) = [plan for sql, plan in plans if "points_rewarddecision" in sql]
    assert "points_decision_by_time" in plan


def test_somebody_who_invited_nobody_has_an_empty_funnel(inviter: User) -> None:
    invitee = RewardDecision.objects.order_by("pk").values_list("invitee_id", flat=True)[0]

    assert funnel_of(invitee) == InviteFunnel()
