"""Spending points for an order, and undoing it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import User
from events.models import Event
from points import refusals
from points.corrections import reverse
from points.expiry import expire_due
from points.models import Entry, Lot, PointsAccount
from points.rebuilding import differences
from points.spending import roll_back_spend, spend
from tests.points.factories import credit
from tests.registrations import close, flag, make_people, make_person

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def mei() -> User:
    """Return somebody with 100 points."""
    person = make_person()
    credit(person, 100)
    return person


@pytest.fixture
def shop() -> User:
    """Return the account of a service."""
    return make_person()


def pay(user: User, amount: int, order_ref: str = "order-1", **given: Any) -> Entry:
    """Spend points."""
    return spend(user_id=user.pk, amount=amount, order_ref=order_ref, actor_id=None, **given)


def balance_of(user: User) -> int:
    """Return the stored balance."""
    return PointsAccount.objects.get(user=user).balance


def remaining(user: User) -> list[int]:
    """Return what is left of each credit, oldest first."""
    return list(
        Lot.objects.filter(account=user.pk).order_by("number").values_list("remaining", flat=True)
    )


def published(type_: str) -> list[dict[str, Any]]:
    """Return the data of a type's events, in order."""
    return list(
        Event.objects.filter(type=type_).order_by("position").values_list("data", flat=True)
    )


def test_spending_takes_points_and_says_for_what(mei: User, shop: User) -> None:
    entry = spend(user_id=mei.pk, amount=30, order_ref="order-1", actor_id=shop.pk)

    stored = Entry.objects.get(pk=entry.pk)
    assert (stored.kind, stored.amount, stored.balance_after, stored.number) == (
        "spend",
        -30,
        70,
        2,
    )
    assert (stored.reason, stored.actor_id) == ("order-1", shop.pk)
    assert (balance_of(mei), remaining(mei)) == (70, [70])
    assert published("points.points_spent") == [
        {"entry_id": str(entry.pk), "user_id": str(mei.pk), "amount": 30, "order_ref": "order-1"}
    ]


def test_what_lapses_first_is_spent_first() -> None:
    person, now = make_person(), timezone.now()
    for amount, expires_at in ((10, None), (20, now + 2 * HOUR), (30, now + HOUR)):
        credit(person, amount, expires_at=expires_at)

    pay(person, 35)

    assert remaining(person) == [10, 15, 0]


def test_the_same_order_again_is_the_same_spending(mei: User) -> None:
    first, second = pay(mei, 30), pay(mei, 30)

    assert first == second
    assert balance_of(mei) == 70
    assert len(published("points.points_spent")) == 1


def test_an_order_that_took_everything_is_still_answered(mei: User) -> None:
    assert pay(mei, 100) == pay(mei, 100)


def test_an_order_is_not_paid_with_another_amount_or_by_another_person(mei: User) -> None:
    other = make_person()
    credit(other, 100)
    pay(mei, 30)

    with pytest.raises(refusals.OrderConflict):
        pay(mei, 31)
    with pytest.raises(refusals.OrderConflict):
        pay(other, 30)
    assert (balance_of(mei), balance_of(other)) == (70, 100)


def test_more_than_there_is_can_not_be_spent_and_leaves_no_trace(mei: User) -> None:
    with pytest.raises(refusals.InsufficientPoints):
        pay(mei, 101)

    assert (balance_of(mei), Entry.objects.count()) == (100, 1)
    assert not published("points.points_spent")


def test_who_never_had_points_has_too_few_and_gets_no_account() -> None:
    with pytest.raises(refusals.InsufficientPoints):
        pay(make_person(), 1)

    assert not PointsAccount.objects.exists()


def test_what_has_lapsed_is_not_spent_though_no_run_has_expired_it(mei: User) -> None:
    credit(mei, 50, expires_at=timezone.now() - HOUR)

    with pytest.raises(refusals.InsufficientPoints):
        pay(mei, 101)
    pay(mei, 100)

    kinds = Entry.objects.order_by("number").values_list("kind", "amount")
    assert list(kinds) == [("earn", 100), ("earn", 50), ("expire", -50), ("spend", -100)]
    assert balance_of(mei) == 0


@pytest.mark.parametrize(
    ("column", "refusal"),
    [("frozen_at", refusals.AccountFrozen), ("closed_at", refusals.AccountClosed)],
)
def test_frozen_and_closed_accounts_do_not_spend(
    mei: User, column: str, refusal: type[refusals.Refused]
) -> None:
    PointsAccount.objects.update(**{column: timezone.now()})

    with pytest.raises(refusal):
        pay(mei, 1)

    assert balance_of(mei) == 100


@pytest.mark.parametrize(
    ("change", "refusal"), [(flag, refusals.AccountFrozen), (close, refusals.AccountClosed)]
)
def test_points_are_not_spent_before_points_has_heard_of_a_flagged_or_closed_account(
    mei: User, change: Callable[[User], None], refusal: type[refusals.Refused]
) -> None:
    paid = pay(mei, 10)
    change(mei)

    with pytest.raises(refusal):
        pay(mei, 1, "order-2")

    assert balance_of(mei) == 90
    assert pay(mei, 10) == paid  # what is paid stays paid


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"amount": 0}, refusals.BadAmount),
        ({"amount": -1}, refusals.BadAmount),
        ({"amount": 10**12 + 1}, refusals.BadAmount),
        ({"order_ref": " "}, refusals.MissingOrder),
        ({"order_ref": "x" * 101}, refusals.MissingOrder),
        ({"user_id": uuid4()}, refusals.UnknownUser),
    ],
)
def test_nonsense_is_refused(
    mei: User, given: dict[str, Any], refusal: type[refusals.Refused]
) -> None:
    columns: dict[str, Any] = {
        "user_id": mei.pk,
        "amount": 1,
        "order_ref": "o",
        "actor_id": None,
    } | given

    with pytest.raises(refusal):
        spend(**columns)

    assert Entry.objects.count() == 1


def test_undoing_puts_the_points_back_where_they_came_from(shop: User) -> None:
    person, now = make_person(), timezone.now()
    for amount, expires_at in ((10, None), (20, now + HOUR)):
        credit(person, amount, expires_at=expires_at)
    spending = pay(person, 25)

    undone = roll_back_spend(entry_id=spending.pk, actor_id=shop.pk)

    assert (undone.kind, undone.amount, undone.reverses) == ("spend_rollback", 25, spending)
    assert (undone.reason, undone.actor_id) == ("order-1", shop.pk)
    assert (balance_of(person), remaining(person)) == (30, [10, 20])
    assert published("points.points_spend_rolled_back") == [
        {
            "entry_id": str(undone.pk),
            "user_id": str(person.pk),
            "amount": 25,
            "order_ref": "order-1",
            "spend_entry_id": str(spending.pk),
        }
    ]


def test_undoing_twice_changes_nothing(mei: User) -> None:
    spending = pay(mei, 25)

    first, second = (roll_back_spend(entry_id=spending.pk, actor_id=None) for _ in range(2))

    assert first == second
    assert balance_of(mei) == 100
    assert len(published("points.points_spend_rolled_back")) == 1


def test_an_order_that_was_undone_is_not_taken_for_paid(mei: User) -> None:
    roll_back_spend(entry_id=pay(mei, 25).pk, actor_id=None)

    with pytest.raises(refusals.OrderUndone):
        pay(mei, 25)
    pay(mei, 25, "order-1b")

    assert balance_of(mei) == 75


def test_points_that_lapsed_while_they_were_spent_lapse_when_they_are_back(mei: User) -> None:
    credit(mei, 50, expires_at=timezone.now() + HOUR)
    spending = pay(mei, 60)
    Lot.objects.filter(expires_at__isnull=False).update(expires_at=timezone.now() - HOUR)

    roll_back_spend(entry_id=spending.pk, actor_id=None)

    assert balance_of(mei) == 150
    with pytest.raises(refusals.InsufficientPoints):
        pay(mei, 101, "order-2")
    pay(mei, 100, "order-2")
    assert balance_of(mei) == 0


def test_only_spendings_are_undone(mei: User) -> None:
    with pytest.raises(refusals.NotASpending):
        roll_back_spend(entry_id=Entry.objects.get().pk, actor_id=None)
    with pytest.raises(refusals.UnknownEntry):
        roll_back_spend(entry_id=uuid4(), actor_id=None)


def test_every_refusal_has_a_code_of_its_own_and_a_sentence() -> None:
    kinds = refusals.Refused.__subclasses__()

    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(str(kind()).endswith(".") for kind in kinds)


def test_the_number_of_queries_does_not_grow_with_that_of_lots(
    django_assert_max_num_queries: Any,
) -> None:
    person = make_people(1)[0]
    for _ in range(30):
        credit(person, 1)

    with django_assert_max_num_queries(15):
        pay(person, 30)


def test_what_an_order_took_from_a_void_reward_goes_back_to_whom_the_reversal_took_it() -> None:
    person, now = make_person(), timezone.now()
    void = credit(person, 100, expires_at=now + HOUR)
    credit(person, 60)
    spending = pay(person, 60)
    reverse(entry_id=void.pk, reason="referral_voided")
    assert (balance_of(person), remaining(person)) == (0, [0, 0])

    roll_back_spend(entry_id=spending.pk, actor_id=None)
    expire_due(now=now + 2 * HOUR)

    assert (balance_of(person), remaining(person)) == (60, [0, 60])


def test_what_an_order_took_from_a_void_reward_makes_up_the_deficit_of_that_first() -> None:
    person = make_person()
    void = credit(person, 100, expires_at=timezone.now() + HOUR)
    spending = pay(person, 100)
    reverse(entry_id=void.pk, reason="referral_voided")
    credit(person, 30)
    assert (balance_of(person), remaining(person)) == (-70, [0, 0])

    roll_back_spend(entry_id=spending.pk, actor_id=None)

    assert (balance_of(person), remaining(person)) == (30, [0, 30])


def test_void_rewards_pass_on_what_is_undone_from_one_to_the_next() -> None:
    person, now = make_person(), timezone.now()
    void = [credit(person, 10, expires_at=now + hours * HOUR) for hours in range(1, 4)]
    credit(person, 10)
    spending = pay(person, 10)
    for earned in void:
        reverse(entry_id=earned.pk, reason="referral_voided")
    assert remaining(person) == [0, 0, 0, 0]

    roll_back_spend(entry_id=spending.pk, actor_id=None)

    assert (balance_of(person), remaining(person)) == (10, [0, 0, 0, 10])
    assert list(differences()) == []
