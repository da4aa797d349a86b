"""The receivers that follow accounts and referrals, from an event to the end of a drain."""

from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Referral, User
from accounts.signals import (
    AccountFlagged,
    ReferralVoided,
    account_flagged,
    referral_voided,
)
from accounts.standing import flag_account
from events.models import Delivery, DeliveryState
from points import holding
from points.models import Entry, PointsAccount, ProcessedEvent, RewardDecision
from tests.conftest import Drain
from tests.faults.world import register
from tests.invariants import broken
from tests.points.factories import make_rule
from tests.registrations import flag

pytestmark = pytest.mark.django_db(transaction=True)

State = tuple[Any, ...]


class Following:
    """One of the receivers, with an event of it that has just been published."""

    receiver: str
    before: State
    after: State

    def __init__(self, drain: Drain) -> None:
        self.drain = drain
        make_rule(points=100)
        self.mei = register("mei@example.com")
        self.tom = register("tom@example.com", self.mei)
        drain()
        self.happen()

    def happen(self) -> None:
        """Change the state and publish."""
        raise NotImplementedError

    def put_back(self) -> None:
        """Make the delivery due again, as a replay or a retry does."""
        Delivery.objects.filter(receiver=self.receiver).update(
            state=DeliveryState.PENDING, due_at=Now(), finished_at=None
        )


def state() -> State:
    """Return what the receivers change."""
    accounts = PointsAccount.objects.values_list("balance", "frozen_at")
    outcomes = RewardDecision.objects.values_list("outcome", flat=True)
    return (
        [(balance, bool(frozen_at)) for balance, frozen_at in accounts],
        list(outcomes),
        Entry.objects.count(),
    )


class FollowAccount(Following):
    """The inviter comes under review."""

    receiver = "points.follow_account"
    before = ([(100, False)], ["granted"], 1)
    after = ([(100, True)], ["granted"], 1)

    def happen(self) -> None:
        flag_account(user_id=self.mei.pk, reason="by_staff")


class FollowReferral(Following):
    """The referral is declared void."""

    receiver = "points.follow_referral"
    before = ([(100, False)], ["granted"], 1)
    after = ([(0, False)], ["voided"], 2)

    def happen(self) -> None:
        Referral.objects.filter(pk=self.tom.pk).update(status="voided")
        voided = ReferralVoided(invitee_id=self.tom.pk, inviter_id=self.mei.pk, reason="fraud")
        with transaction.atomic():
            referral_voided.publish(voided)


@pytest.fixture(params=[FollowAccount, FollowReferral])
def following(request: pytest.FixtureRequest, drain: Drain) -> Following:
    """Return each receiver in turn."""
    made: Following = request.param(drain)
    return made


def test_once(following: Following) -> None:
    following.drain()

    assert state() == following.after


@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(following: Following, inbox_is_lost: bool) -> None:
    following.drain()
    following.put_back()
    if inbox_is_lost:
        ProcessedEvent.objects.all().delete()

    following.drain()

    assert state() == following.after


def test_crash_then_retry(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as crashing:
        for last_step in ("settle", "_void"):
            crashing.setattr(holding, last_step, _crashing_after(getattr(holding, last_step)))
        following.drain()
    assert state() == following.before
    following.put_back()
    following.drain()

    assert state() == following.after
    assert broken("--at-rest") == {}


def _crashing_after(step: Any) -> Any:
    def run(*args: Any) -> None:
        step(*args)
        raise RuntimeError("crashed at the last moment")

    return run


def test_somebody_who_never_had_points_is_frozen_before_they_earn_any(drain: Drain) -> None:
    mei: User = register("mei@example.com")
    flag(mei)
    with transaction.atomic():
        account_flagged.publish(AccountFlagged(user_id=mei.pk, reason="by_staff"))

    drain()

    assert state() == ([(0, True)], [], 0)
