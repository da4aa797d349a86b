"""Taking back what was earned, and adjusting by hand."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import User
from events.models import Event
from points import refusals
from points.corrections import adjust, reverse
from points.expiry import expire_due
from points.models import Entry, Lot, PointsAccount
from points.spending import spend
from tests.points.factories import credit
from tests.registrations import close, make_person

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def mei() -> User:
    """Return somebody who has no points so far."""
    return make_person()


@pytest.fixture
def staff() -> User:
    """Return whoever adjusts."""
    return make_person()


def balance_of(user: User) -> int:
    """Return the stored balance."""
    return PointsAccount.objects.get(user=user).balance


def data_of(type_: str) -> Any:
    """Return the data of the one event of a type."""
    return Event.objects.get(type=type_).data


def test_what_was_earned_is_taken_back_once(mei: User) -> None:
    earned, event_id = credit(mei, 100), uuid4()

    first = reverse(entry_id=earned.pk, reason="referral_voided", event_id=event_id)
    second = reverse(entry_id=earned.pk, reason="again")

    assert first == second
    assert (first.kind, first.amount, first.reverses) == ("reversal", -100, earned)
    assert (first.reason, first.event_id) == ("referral_voided", event_id)
    assert (balance_of(mei), Lot.objects.get().remaining) == (0, 0)
    assert data_of("points.points_reversed") == {
        "entry_id": str(first.pk),
        "user_id": str(mei.pk),
        "amount": 100,
        "earn_entry_id": str(earned.pk),
        "reason": "referral_voided",
    }


def test_what_was_spent_is_taken_back_too_and_repaid_by_what_comes_next(mei: User) -> None:
    earned = credit(mei, 100)
    spend(user_id=mei.pk, amount=80, order_ref="o", actor_id=None)

    reverse(entry_id=earned.pk, reason="referral_voided")
    assert balance_of(mei) == -80
    credit(mei, 100)

    assert balance_of(mei) == 20
    assert [lot.remaining for lot in Lot.objects.order_by("number")] == [0, 20]


def test_a_reversal_takes_from_its_own_credit_before_others(mei: User) -> None:
    credit(mei, 10, expires_at=timezone.now() + HOUR)
    earned = credit(mei, 10)

    reverse(entry_id=earned.pk, reason="referral_voided")

    assert [lot.remaining for lot in Lot.objects.order_by("number")] == [10, 0]


@pytest.mark.parametrize(("spent", "taken", "left"), [(0, 0, 50), (30, -30, 20)])
def test_what_has_lapsed_is_not_taken_twice(mei: User, spent: int, taken: int, left: int) -> None:
    earned = credit(mei, 100, expires_at=timezone.now() + HOUR)
    if spent:
        spend(user_id=mei.pk, amount=spent, order_ref="o", actor_id=None)
    Lot.objects.update(expires_at=timezone.now() - HOUR)
    expire_due(now=timezone.now())
    credit(mei, 50)

    reversal = reverse(entry_id=earned.pk, reason="referral_voided")

    assert (reversal.amount, balance_of(mei)) == (taken, left)


def test_only_earnings_are_reversed(mei: User, staff: User) -> None:
    entry = adjust(user_id=mei.pk, amount=5, reason="goodwill", actor_id=staff.pk)

    with pytest.raises(refusals.NotEarned):
        reverse(entry_id=entry.pk, reason="x")
    with pytest.raises(refusals.UnknownEntry):
        reverse(entry_id=uuid4(), reason="x")


def test_an_adjustment_says_who_and_why(mei: User, staff: User) -> None:
    entry = adjust(user_id=mei.pk, amount=5, reason="goodwill", actor_id=staff.pk)

    stored = Entry.objects.get(pk=entry.pk)
    assert (stored.kind, stored.amount, stored.expires_at) == ("adjust", 5, None)
    assert (stored.reason, stored.actor) == ("goodwill", staff)
    assert (balance_of(mei), Lot.objects.get().remaining) == (5, 5)
    assert data_of("points.points_adjusted") == {
        "entry_id": str(entry.pk),
        "user_id": str(mei.pk),
        "amount": 5,
        "actor_id": str(staff.pk),
    }


def test_an_adjustment_with_a_key_counts_once(mei: User, staff: User) -> None:
    key = uuid4()

    for _ in range(2):
        adjust(user_id=mei.pk, amount=5, reason="goodwill", actor_id=staff.pk, key=key)

    assert balance_of(mei) == 5


def test_an_adjustment_takes_what_is_there_and_no_more(mei: User, staff: User) -> None:
    credit(mei, 10)

    with pytest.raises(refusals.InsufficientPoints):
        adjust(user_id=mei.pk, amount=-11, reason="mistake", actor_id=staff.pk)
    adjust(user_id=mei.pk, amount=-10, reason="mistake", actor_id=staff.pk)

    assert (balance_of(mei), Lot.objects.get().remaining) == (0, 0)


def test_the_key_of_another_adjustment_is_refused(mei: User, staff: User) -> None:
    key, other = uuid4(), make_person()
    adjust(user_id=mei.pk, amount=5, reason="goodwill", actor_id=staff.pk, key=key)

    for user, amount in ((other, 5), (mei, 6)):
        with pytest.raises(refusals.KeyConflict):
            adjust(user_id=user.pk, amount=amount, reason="goodwill", actor_id=staff.pk, key=key)

    assert list(Entry.objects.values_list("account", "amount")) == [(mei.pk, 5)]


def test_an_account_is_left_alone_before_points_has_heard_that_it_is_closed(
    mei: User, staff: User
) -> None:
    close(mei)

    with pytest.raises(refusals.AccountClosed):
        adjust(user_id=mei.pk, amount=5, reason="goodwill", actor_id=staff.pk)

    assert not Entry.objects.exists()


def test_a_closed_account_is_left_alone(mei: User, staff: User) -> None:
    credit(mei, 10)
    PointsAccount.objects.update(closed_at=timezone.now())

    with pytest.raises(refusals.AccountClosed):
        adjust(user_id=mei.pk, amount=5, reason="goodwill", actor_id=staff.pk)


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"amount": 0}, refusals.BadAmount),
        ({"amount": 10**12 + 1}, refusals.BadAmount),
        ({"amount": -(10**12) - 1}, refusals.BadAmount),
        ({"reason": " "}, refusals.MissingReason),
        ({"reason": "x" * 201}, refusals.MissingReason),
        ({"user_id": uuid4()}, refusals.UnknownUser),
    ],
)
def test_nonsense_is_refused(
    mei: User, staff: User, given: dict[str, Any], refusal: type[refusals.Refused]
) -> None:
    columns: dict[str, Any] = {
        "user_id": mei.pk,
        "amount": 1,
        "reason": "r",
        "actor_id": staff.pk,
    } | given

    with pytest.raises(refusal):
        adjust(**columns)

    assert not Entry.objects.exists()
