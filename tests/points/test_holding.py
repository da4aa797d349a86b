"""Rewards that wait, and accounts whose owners come under review: states, whatever the order."""

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Referral, User
from events.models import Event as EventRow
from points import holding
from points.corrections import reverse
from points.holding import Released, follow_account, follow_referral, release_due
from points.models import Entry, PointsAccount, RewardDecision
from points.services import reward_inviters
from tests.points.factories import make_rule
from tests.registrations import clear, close, flag, make_people, refer, registered

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def pair() -> tuple[User, User]:
    """Return an inviter and whom they invited; a rule promises 100 points."""
    make_rule(points=100)
    inviter, invitee = make_people(2)
    return inviter, invitee


def register(inviter: User, invitee: User, at: Any = None) -> None:
    """Deliver a registration."""
    with transaction.atomic():
        reward_inviters([registered(invitee, inviter=inviter, at=at)])


def follow(inviter: User, invitee: User) -> None:
    """Deliver that something was decided about the referral."""
    with transaction.atomic():
        follow_referral(invitee_id=invitee.pk, inviter_id=inviter.pk, event_id=uuid4())


def follow_owner(user: User) -> None:
    """Deliver that something became of the account."""
    with transaction.atomic():
        follow_account(user_id=user.pk)


def set_referral(invitee: User, status: str) -> None:
    """Decide the referral, as far as its row goes."""
    Referral.objects.filter(pk=invitee.pk).update(status=status)


def outcome(invitee: User) -> tuple[str, str]:
    """Return what is decided."""
    decision = RewardDecision.objects.get(invitee=invitee)
    return decision.outcome, decision.reason


def sums(user: User) -> tuple[int, int]:
    """Return balance and pending."""
    account = PointsAccount.objects.get(user=user)
    return account.balance, account.pending


def published(type_: str) -> int:
    """Return how many events of a type there are."""
    return EventRow.objects.filter(type=type_).count()


def test_an_approved_referral_grants_the_reward_that_waited(pair: tuple[User, User]) -> None:
    inviter, invitee = pair
    refer(invitee, inviter, status="flagged")
    register(inviter, invitee)
    set_referral(invitee, "approved")

    for _ in range(2):
        follow(inviter, invitee)

    assert (outcome(invitee), sums(inviter)) == (("granted", ""), (100, 0))
    assert published("points.points_earned") == 1


def test_an_approved_referral_is_left_to_its_waiting_time() -> None:
    make_rule(hold_days=3)
    inviter, invitee = make_people(2)
    refer(invitee, inviter, status="flagged")
    register(inviter, invitee)
    set_referral(invitee, "approved")

    follow(inviter, invitee)

    assert (outcome(invitee), sums(inviter)) == (("pending", "hold_period"), (0, 100))


def test_a_void_referral_voids_the_reward_that_waited(pair: tuple[User, User]) -> None:
    inviter, invitee = pair
    refer(invitee, inviter, status="flagged")
    register(inviter, invitee)
    set_referral(invitee, "voided")

    follow(inviter, invitee)

    assert (outcome(invitee), sums(inviter)) == (("voided", "referral_voided"), (0, 0))
    assert not Entry.objects.exists()


def test_a_void_referral_reverses_the_reward_once(pair: tuple[User, User]) -> None:
    inviter, invitee = pair
    refer(invitee, inviter)
    register(inviter, invitee)
    set_referral(invitee, "voided")

    for _ in range(2):
        follow(inviter, invitee)

    assert (outcome(invitee), sums(inviter)) == (("voided", "referral_voided"), (0, 0))
    assert list(Entry.objects.order_by("number").values_list("kind", "amount", "reason")) == [
        ("earn", 100, "referral"),
        ("reversal", -100, "referral_voided"),
    ]
    assert published("points.points_reversed") == 1


def test_a_reward_that_staff_reversed_is_not_reversed_again(pair: tuple[User, User]) -> None:
    inviter, invitee = pair
    refer(invitee, inviter)
    register(inviter, invitee)
    reverse(entry_id=Entry.objects.get().pk, reason="mistake")
    set_referral(invitee, "voided")

    follow(inviter, invitee)

    assert (outcome(invitee), sums(inviter)) == (("voided", "referral_voided"), (0, 0))


def test_a_void_that_comes_before_the_registration_leaves_no_entry(
    pair: tuple[User, User],
) -> None:
    inviter, invitee = pair
    refer(invitee, inviter, status="voided")

    follow(inviter, invitee)
    register(inviter, invitee)

    assert (outcome(invitee), sums(inviter)) == (("voided", "referral_voided"), (0, 0))
    assert not Entry.objects.exists()


def test_a_refused_reward_is_void_too_whatever_came_first() -> None:
    inviter, invitee = make_people(2)
    refer(invitee, inviter)
    register(inviter, invitee)
    assert outcome(invitee) == ("skipped", "no_active_rule")
    set_referral(invitee, "voided")

    follow(inviter, invitee)

    assert outcome(invitee) == ("voided", "referral_voided")


def test_a_voided_reward_frees_its_place_in_the_cap() -> None:
    make_rule(points=100, cap_total=1)
    inviter, first, second, third = make_people(4)
    refer(first, inviter)
    register(inviter, first)
    register(inviter, second)
    set_referral(first, "voided")
    follow(inviter, first)

    register(inviter, third)

    assert outcome(second) == ("skipped", "cap_total")  # it was full then; that stays
    assert outcome(third) == ("granted", "")


@pytest.mark.parametrize("final", ["approved", "voided"])
@pytest.mark.parametrize("order", list(permutations(["registration", "referral", "account"])))
def test_deliveries_in_any_order_end_the_same(
    pair: tuple[User, User], order: tuple[str, ...], final: str
) -> None:
    inviter, invitee = pair
    refer(invitee, inviter, status=final)
    deliver: dict[str, Any] = {
        "registration": lambda: register(inviter, invitee),
        "referral": lambda: follow(inviter, invitee),
        "account": lambda: follow_owner(inviter),
    }

    for name in order:
        deliver[name]()

    expected = {
        "approved": (("granted", ""), (100, 0)),
        "voided": (("voided", "referral_voided"), (0, 0)),
    }
    assert (outcome(invitee), sums(inviter)) == expected[final]


def test_points_are_frozen_while_their_owner_is_under_review(pair: tuple[User, User]) -> None:
    inviter, _ = pair
    flag(inviter)
    follow_owner(inviter)
    frozen_at = PointsAccount.objects.get().frozen_at
    follow_owner(inviter)
    assert frozen_at is not None
    assert PointsAccount.objects.get().frozen_at == frozen_at

    User.objects.filter(pk=inviter.pk).update(status="active")
    follow_owner(inviter)

    assert PointsAccount.objects.get().frozen_at is None


def test_a_reward_waits_while_its_inviter_is_under_review(pair: tuple[User, User]) -> None:
    inviter, invitee = pair
    flag(inviter)
    register(inviter, invitee)
    assert (outcome(invitee), sums(inviter)) == (("pending", "inviter_flagged"), (0, 100))

    User.objects.filter(pk=inviter.pk).update(status="active")
    follow_owner(inviter)

    assert (outcome(invitee), sums(inviter)) == (("granted", ""), (100, 0))


@pytest.mark.parametrize("end", [clear, close])
def test_a_reward_waits_while_the_invitee_is_under_review(
    pair: tuple[User, User], end: Callable[[User], None]
) -> None:
    inviter, invitee = pair
    refer(invitee, inviter)
    flag(invitee)
    register(inviter, invitee)
    assert (outcome(invitee), sums(inviter)) == (("pending", "invitee_flagged"), (0, 100))

    end(invitee)
    for _ in range(2):
        follow_owner(invitee)

    assert (outcome(invitee), sums(inviter)) == (("granted", ""), (100, 0))
    assert published("points.points_earned") == 1


def test_a_reward_whose_time_is_over_waits_for_the_review_of_the_invitee() -> None:
    make_rule(points=100, hold_days=3)
    inviter, invitee = make_people(2)
    refer(invitee, inviter)
    register(inviter, invitee)
    flag(invitee)
    follow_owner(invitee)
    assert outcome(invitee) == ("pending", "invitee_flagged")

    assert release_due(now=timezone.now() + 3 * DAY) == Released(waiting=1)
    clear(invitee)
    assert release_due(now=timezone.now() + 3 * DAY) == Released(granted=1)


def test_closing_keeps_what_was_earned_and_refuses_what_waits() -> None:
    make_rule(version=1, points=100, active_until=timezone.now() - DAY)
    make_rule(version=2, points=100, hold_days=3, active_from=timezone.now() - DAY)
    inviter, early, late = make_people(3)
    register(inviter, early, at=timezone.now() - 2 * DAY)
    register(inviter, late)
    close(inviter)

    follow_owner(inviter)

    account = PointsAccount.objects.get()
    assert (account.closed_at is None, account.frozen_at) == (False, None)
    assert (outcome(early), outcome(late)) == (("granted", ""), ("skipped", "inviter_closed"))
    assert sums(inviter) == (100, 0)
    assert published("points.reward_skipped") == 1


def test_the_reward_for_somebody_who_closes_their_account_stays(pair: tuple[User, User]) -> None:
    inviter, invitee = pair
    register(inviter, invitee)
    close(invitee)

    follow_owner(invitee)

    assert (outcome(invitee), sums(inviter)) == (("granted", ""), (100, 0))


def test_a_reward_is_released_after_its_waiting_time() -> None:
    make_rule(points=100, hold_days=3, expires_days=10)
    inviter, due, later = make_people(3)
    now = timezone.now()
    register(inviter, due, at=now - 2 * DAY)
    register(inviter, later)

    assert release_due(now=now + DAY) == Released(granted=1)
    assert release_due(now=now + DAY) == Released()

    assert (outcome(due), outcome(later)) == (("granted", ""), ("pending", "hold_period"))
    assert sums(inviter) == (100, 100)
    assert Entry.objects.get().expires_at == now + 11 * DAY


@pytest.mark.parametrize(
    ("state", "released", "ends"),
    [
        ("flagged", Released(waiting=1), ("pending", "inviter_flagged")),
        ("invitee flagged", Released(waiting=1), ("pending", "invitee_flagged")),
        ("closed", Released(refused=1), ("skipped", "inviter_closed")),
        ("voided", Released(refused=1), ("voided", "referral_voided")),
        ("review", Released(waiting=1), ("pending", "referral_flagged")),
    ],
)
def test_a_waiting_time_that_is_over_is_not_all(
    state: str, released: Released, ends: tuple[str, str]
) -> None:
    make_rule(points=100, hold_days=3)
    inviter, invitee = make_people(2)
    refer(invitee, inviter)
    register(inviter, invitee)
    change: dict[str, Any] = {
        "flagged": lambda: flag(inviter),
        "invitee flagged": lambda: flag(invitee),
        "closed": lambda: close(inviter),
        "voided": lambda: set_referral(invitee, "voided"),
        "review": lambda: set_referral(invitee, "flagged"),
    }
    change[state]()

    assert release_due(now=timezone.now() + 3 * DAY) == released

    assert outcome(invitee) == ends
    assert not Entry.objects.exists()


def test_a_run_releases_as_many_as_it_is_told() -> None:
    make_rule(points=100, hold_days=1)
    inviter, *invitees = make_people(4)
    for invitee in invitees:
        register(inviter, invitee)

    assert release_due(now=timezone.now() + 2 * DAY, limit=2) == Released(granted=2)
    assert sums(inviter) == (200, 100)


def test_rewards_under_review_do_not_keep_a_run_from_those_that_are_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holding, "DECISIONS_AT_ONCE", 2)
    make_rule(points=100, hold_days=1)
    inviter, *reviewed, due, later = make_people(6)
    for invitee in reviewed:
        refer(invitee, inviter, status="flagged")
        register(inviter, invitee)
    for invitee in (due, later):
        register(inviter, invitee)

    released = release_due(now=timezone.now() + 2 * DAY, limit=1)

    assert released == Released(granted=1, waiting=3)
    assert (outcome(due), outcome(later)) == (("granted", ""), ("pending", "hold_period"))


def test_the_number_of_queries_does_not_grow_with_that_of_rewards() -> None:
    make_rule(points=100, hold_days=1)

    assert count_queries(2) == count_queries(40) <= 20


def count_queries(people: int) -> int:
    """Return how many queries it takes to release so many rewards of as many inviters."""
    for inviter, invitee in zip(make_people(people), make_people(people), strict=True):
        register(inviter, invitee)
    with CaptureQueriesContext(connection) as queries:
        release_due(now=timezone.now() + 2 * DAY)
    return len([query for query in queries if "SAVEPOINT" not in query["sql"]])
