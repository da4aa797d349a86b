"""The inviter's reward, from a registration to the end of a drain."""

import pytest
from django.db.models.functions import Now

from accounts import services
from accounts.models import User
from events.models import Delivery, DeliveryState
from points.models import Entry, PointsAccount, ProcessedEvent, RewardDecision
from points.signals import reward_skipped
from tests.conftest import Drain
from tests.points.factories import make_rule
from tests.registrations import flag

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "points.reward_inviter"


def register(name: str, inviter: User | None = None) -> User:
    """Register somebody."""
    return services.register(
        email=f"{name}@example.com",
        password="a long enough one",
        referral_code=inviter.referral_code if inviter else "",
    ).user


def put_back() -> None:
    """Make the receiver's deliveries due again, as a replay or a retry does."""
    Delivery.objects.filter(receiver=RECEIVER).update(
        state=DeliveryState.PENDING, due_at=Now(), finished_at=None
    )


def effects() -> tuple[int, int, list[int]]:
    """Return the numbers of decisions and entries, and the balances."""
    balances = PointsAccount.objects.values_list("balance", flat=True)
    return RewardDecision.objects.count(), Entry.objects.count(), list(balances)


def states() -> set[str]:
    """Return the states of the receiver's deliveries."""
    return set(Delivery.objects.filter(receiver=RECEIVER).values_list("state", flat=True))


def test_once(drain: Drain) -> None:
    make_rule(points=100)
    mei = register("mei")
    register("tom", inviter=mei)

    drain()

    assert effects() == (1, 1, [100])
    assert PointsAccount.objects.get().user == mei
    assert states() == {DeliveryState.DONE}


@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(drain: Drain, inbox_is_lost: bool) -> None:
    make_rule(points=100)
    register("tom", inviter=register("mei"))
    drain()
    put_back()
    if inbox_is_lost:
        ProcessedEvent.objects.all().delete()

    drain()

    assert effects() == (1, 1, [100])
    assert states() == {DeliveryState.DONE}


def test_crash_then_retry(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    make_rule(points=100)
    register("tom", inviter=register("mei"))

    with monkeypatch.context() as crashing:
        crashing.setattr(reward_skipped, "publish_many", crash)
        drain()
    assert effects() == (0, 0, [])
    put_back()
    drain()

    assert effects() == (1, 1, [100])


def crash(*args: object, **kwargs: object) -> None:
    """Fail after everything was written."""
    raise RuntimeError("crashed at the last moment")


def test_a_flagged_inviter_waits_for_the_reward(drain: Drain) -> None:
    make_rule(points=100)
    mei = register("mei")
    flag(mei)
    register("tom", inviter=mei)

    drain()

    assert effects() == (1, 0, [0])
    assert PointsAccount.objects.get().pending == 100
