"""The newcomer coupon, from a registration to the end of a drain."""

import pytest
from django.db.models.functions import Now

from accounts import services
from accounts.models import User
from coupons.models import Campaign, Coupon, IssueDecision, ProcessedEvent
from coupons.signals import coupon_issue_skipped
from events.models import Delivery, DeliveryState
from tests.conftest import Drain
from tests.coupons.factories import make_campaign

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "coupons.issue_welcome_coupons"


def register(name: str = "mei") -> User:
    """Register somebody."""
    return services.register(email=f"{name}@example.com", password="a long enough one").user


def put_back() -> None:
    """Make the receiver's deliveries due again, as a replay or a retry does."""
    Delivery.objects.filter(receiver=RECEIVER).update(
        state=DeliveryState.PENDING, due_at=Now(), finished_at=None
    )


def effects() -> tuple[int, int, int]:
    """Return the numbers of coupons and decisions, and the campaign's own count."""
    issued_count = Campaign.objects.get().issued_count
    return Coupon.objects.count(), IssueDecision.objects.count(), issued_count


def test_once(drain: Drain) -> None:
    make_campaign()
    person = register()

    drain()

    assert effects() == (1, 1, 1)
    assert Coupon.objects.get().user == person
    assert Delivery.objects.get(receiver=RECEIVER).state == DeliveryState.DONE


@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(drain: Drain, inbox_is_lost: bool) -> None:
    make_campaign()
    register()
    drain()
    put_back()
    if inbox_is_lost:
        ProcessedEvent.objects.all().delete()

    drain()

    assert effects() == (1, 1, 1)
    assert Delivery.objects.get(receiver=RECEIVER).state == DeliveryState.DONE


def test_crash_then_retry(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    make_campaign()
    register()

    with monkeypatch.context() as crashing:
        crashing.setattr(coupon_issue_skipped, "publish_many", crash)
        drain()
    assert effects() == (0, 0, 0)
    put_back()
    drain()

    assert effects() == (1, 1, 1)


def crash(*args: object, **kwargs: object) -> None:
    """Fail after everything was written."""
    raise RuntimeError("crashed at the last moment")


def test_a_backlog_is_decided_in_order_of_registration(drain: Drain) -> None:
    make_campaign(stock=3)
    people = [register(f"person{number}") for number in range(5)]

    drain()

    assert {coupon.user for coupon in Coupon.objects.all()} == set(people[:3])
    assert effects() == (3, 5, 3)
