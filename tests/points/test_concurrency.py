"""Many transactions at once reward the same inviters, and move the same points."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models.expressions import RawSQL
from django.utils import timezone

from accounts.models import User
from accounts.signals import UserRegistered
from events.delivery.conflict import repeated
from events.envelope import Event
from points.bookkeeping import lock_accounts
from points.corrections import adjust, reverse
from points.expiry import expire_due
from points.models import Entry, PointsAccount, RewardDecision
from points.rebuilding import differences
from points.refusals import Refused
from points.services import reward_inviters
from points.spending import roll_back_spend, spend
from tests.parallel import run_at_once
from tests.points.factories import credit, make_rule
from tests.registrations import all_registered, make_people, make_person, registered

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 24
CROWD = 100


def reward(events: list[Event[UserRegistered]]) -> None:
    """Decide in a transaction of its own; again where SQLite had no turn to write for so many."""

    def run() -> None:
        with transaction.atomic():
            reward_inviters(events)

    repeated(run)


def check_ledger(inviter: User) -> None:
    """Assert that the account is what its entries say, numbered without a gap."""
    account = PointsAccount.objects.get(user=inviter)
    entries = list(Entry.objects.filter(account=account).order_by("number"))
    assert account.balance == sum(entry.amount for entry in entries)
    assert [entry.number for entry in entries] == list(range(1, account.version + 1))
    running = 0
    for entry in entries:
        running += entry.amount
        assert entry.balance_after == running


def test_the_last_unit_of_a_cap_has_one_winner() -> None:
    make_rule(cap_total=1)
    inviter = make_person()
    events = all_registered(make_people(CROWD), inviter)

    run_at_once([partial(reward, [event]) for event in events])

    outcomes = RewardDecision.objects.values_list("outcome", "reason")
    assert sorted(outcomes) == [("granted", "")] + [("skipped", "cap_total")] * (CROWD - 1)
    assert PointsAccount.objects.get().balance == 100
    check_ledger(inviter)


def test_rewards_at_once_lose_no_points() -> None:
    make_rule(points=100)
    inviter = make_person()
    events = all_registered(make_people(THREADS), inviter)

    run_at_once([partial(reward, [event]) for event in events])

    assert PointsAccount.objects.get().balance == 100 * THREADS
    check_ledger(inviter)


def test_the_same_invitation_at_once_counts_once() -> None:
    make_rule(points=100)
    inviter, invitee = make_people(2)

    run_at_once([partial(reward, [registered(invitee, inviter=inviter)]) for _ in range(THREADS)])

    assert PointsAccount.objects.get().balance == 100
    assert (RewardDecision.objects.count(), Entry.objects.count()) == (1, 1)


def test_batches_over_the_same_inviters_in_any_order_do_not_deadlock() -> None:
    make_rule(points=100)
    inviters = make_people(40)
    batches = [
        [
            registered(invitee, inviter=by)
            for invitee, by in zip(make_people(40), order, strict=True)
        ]
        for order in (inviters, inviters[::-1]) * 4
    ]

    run_at_once([partial(reward, batch) for batch in batches])

    balances = set(PointsAccount.objects.values_list("balance", flat=True))
    assert (PointsAccount.objects.count(), balances) == (40, {800})
    check_ledger(inviters[0])


def test_missing_accounts_are_made_in_order_of_id() -> None:
    """Two transactions that insert the same rows in different order would wait for each other."""
    user_ids = sorted((person.pk for person in make_people(20)), reverse=True)
    physical_order = {"postgresql": "ctid", "sqlite": "rowid"}[connection.vendor]

    with transaction.atomic():
        lock_accounts(user_ids)

    accounts = PointsAccount.objects.order_by(RawSQL(physical_order, ()))  # noqa: S611
    assert [account.pk for account in accounts] == sorted(user_ids)


def test_the_last_point_of_a_balance_has_one_winner() -> None:
    person = make_person()
    credit(person, 1)

    outcomes = run_at_once([partial(try_to_spend, person, 1, str(n)) for n in range(CROWD)])

    assert sorted(outcomes) == ["insufficient_points"] * (CROWD - 1) + ["spent"]
    assert PointsAccount.objects.get().balance == 0
    check_ledger(person)


def test_one_order_at_once_is_paid_once() -> None:
    person = make_person()
    credit(person, 100)

    outcomes = run_at_once([partial(try_to_spend, person, 1, "order") for _ in range(THREADS)])

    assert set(outcomes) == {"spent"}
    assert PointsAccount.objects.get().balance == 99
    check_ledger(person)


def test_one_order_of_several_people_is_paid_by_one() -> None:
    people = make_people(8)
    for person in people:
        credit(person, 10)

    outcomes = run_at_once([partial(try_to_spend, person, 1, "order") for person in people])

    assert sorted(outcomes) == ["order_conflict"] * 7 + ["spent"]
    assert sum(PointsAccount.objects.values_list("balance", flat=True)) == 79


def test_one_key_for_several_people_adjusts_one() -> None:
    staff, *people = make_people(9)
    key = uuid4()

    outcomes = run_at_once([partial(try_to_adjust, person, staff, key) for person in people])

    assert sorted(outcomes) == ["adjusted"] + ["key_conflict"] * 7
    assert Entry.objects.count() == 1


def test_everything_at_once_leaves_the_ledger_whole() -> None:
    person = make_person()
    soon = timezone.now() - timedelta(seconds=1)
    earned = [credit(person, 10, expires_at=soon if n % 2 else None) for n in range(8)]
    spent = [spend_of(person, 2, f"before-{n}") for n in range(8)]

    steps: list[Callable[[], object]] = [
        *[partial(reverse, entry_id=entry.pk, reason="x") for entry in earned],
        *[partial(roll_back_spend, entry_id=entry.pk, actor_id=None) for entry in spent],
        *[partial(try_to_spend, person, 3, f"order-{n}") for n in range(4)],
        *[partial(expire_due, now=timezone.now()) for _ in range(4)],
    ]
    run_at_once(steps)

    check_ledger(person)
    assert list(differences()) == []


def spend_of(person: User, amount: int, order_ref: str) -> Entry:
    """Spend points for an order."""
    return spend(user_id=person.pk, amount=amount, order_ref=order_ref, actor_id=None)


def try_to_spend(person: User, amount: int, order_ref: str) -> str:
    """Spend points for an order; return "spent", or the code of the refusal."""
    try:
        repeated(lambda: spend_of(person, amount, order_ref))
    except Refused as refusal:
        return refusal.code
    return "spent"


def try_to_adjust(person: User, staff: User, key: UUID) -> str:
    """Add a point by hand; return "adjusted", or the code of the refusal."""
    try:
        repeated(
            lambda: adjust(user_id=person.pk, amount=1, reason="r", actor_id=staff.pk, key=key)
        )
    except Refused as refusal:
        return refusal.code
    return "adjusted"
