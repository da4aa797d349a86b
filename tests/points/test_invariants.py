"""I4 and I5: what must hold of rewards and of the ledger, and how a breach of it is told."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from accounts.closing import CloseReason, close_account
from accounts.models import User
from accounts.standing import flag_account
from points.append_only import protect, unprotect
from points.models import Entry, Lot, PointsAccount, RewardDecision
from tests.conftest import Drain
from tests.faults.world import open_campaign_and_rule, register
from tests.invariants import broken, without_constraint
from tests.points.factories import make_entry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def inviter(drain: Drain) -> User:
    """Return somebody who earned 100 points by one invitation."""
    person: User = open_campaign_and_rule(drain)
    register("b@example.com", person)
    drain()
    assert PointsAccount.objects.get().balance == 100
    return person


def write(inviter: User, amount: int, **given: Any) -> None:
    """Add an entry as the services would, but for what is given otherwise."""
    account = PointsAccount.objects.get(pk=inviter.pk)
    balance = account.balance + amount
    make_entry(account, **({"number": 2, "amount": amount, "balance_after": balance} | given))
    PointsAccount.objects.update(balance=balance, version=2)


def lose_the_decision(inviter: User) -> None:
    """Leave an entry that nothing grants."""
    RewardDecision.objects.all().delete()


def promise_more(inviter: User) -> None:
    """Let a decision disagree with its entry."""
    RewardDecision.objects.update(points=101)


def reward_another(inviter: User) -> None:
    """Let a decision name somebody who invited nobody."""
    RewardDecision.objects.update(inviter=register("c@example.com"))


def take_back_the_decision(inviter: User) -> None:
    """Leave the entry of a reward that is void."""
    RewardDecision.objects.update(outcome="voided", reason="referral_voided")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lose_the_decision, "registrations of invited people were delivered, but not decided"),
        (lose_the_decision, "entries reward people whom no decision grants anything"),
        (promise_more, "rewards were granted without their entry in the ledger"),
        (reward_another, "decisions name other people than their event"),
        (take_back_the_decision, "entries reward people whom no decision grants anything"),
    ],
)
def test_a_wrong_reward_is_told(harm: Callable[[User], None], said: str, inviter: User) -> None:
    harm(inviter)

    found = broken()

    assert set(found) == {"I4"}
    assert said in found["I4"]


def test_a_second_decision_is_told(inviter: User) -> None:
    with without_constraint(RewardDecision, "points_rewarddecision_once_per_invitee"):
        decision = RewardDecision.objects.get()
        RewardDecision.objects.create(
            rule_kind=decision.rule_kind,
            inviter_id=decision.inviter_id,
            invitee_id=decision.invitee_id,
            outcome="skipped",
            reason="cap_total",
            occurred_at=decision.occurred_at,
        )

        assert broken() == {"I4": ["invited people have several decisions by one kind of rule"]}


def test_rewarding_oneself_is_told(inviter: User) -> None:
    with without_constraint(RewardDecision, "points_rewarddecision_not_of_oneself"):
        RewardDecision.objects.update(invitee=F("inviter"), event_id=None)

        found = broken()

        assert set(found) == {"I4"}
        assert "decisions reward people for inviting themselves" in found["I4"]


def change_the_balance(inviter: User) -> None:
    """Give points without an entry."""
    PointsAccount.objects.update(balance=F("balance") + 1)


def skip_a_number(inviter: User) -> None:
    """Leave a gap in the entries."""
    write(inviter, 5, number=3, balance_after=5)


def miscount_the_entries(inviter: User) -> None:
    """Let the account think that it has more entries."""
    PointsAccount.objects.update(version=2)


def write_a_wrong_balance(inviter: User) -> None:
    """Let an entry leave another balance than it did."""
    write(inviter, 5, balance_after=999)


def overspend(inviter: User) -> None:
    """Spend what is not there."""
    write(inviter, -101, kind="spend")
    Lot.objects.update(remaining=0)


def promise_for_nothing(inviter: User) -> None:
    """Count pending points of no decision."""
    PointsAccount.objects.update(pending=100)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (change_the_balance, "balances are not the sum of their entries"),
        (skip_a_number, "accounts have a gap in their entries, or count them wrongly"),
        (miscount_the_entries, "accounts have a gap in their entries, or count them wrongly"),
        (write_a_wrong_balance, "entries do not add up with the one before"),
        (overspend, "entries took a balance below zero, and are no reversals"),
        (promise_for_nothing, "accounts count other than the points of their pending rewards"),
    ],
)
def test_a_wrong_ledger_is_told(harm: Callable[[User], None], said: str, inviter: User) -> None:
    harm(inviter)

    assert broken() == {"I5": [said]}


def test_an_entry_that_was_changed_is_told(inviter: User) -> None:
    table = Entry._meta.db_table
    with connection.schema_editor() as editor:
        unprotect(editor, table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET amount = 1000")  # noqa: S608
    with connection.schema_editor() as editor:
        protect(editor, table)

    found = broken()

    assert set(found) == {"I4", "I5"}  # it is no longer what the decision granted, either


def test_a_reversal_may_take_a_balance_below_zero(inviter: User) -> None:
    RewardDecision.objects.update(outcome="voided", reason="referral_voided")
    write(inviter, -50, kind="spend")
    earned = Entry.objects.get(number=1)
    account = PointsAccount.objects.get()
    make_entry(account, number=3, kind="reversal", amount=-100, balance_after=-50, reverses=earned)
    make_entry(account, number=4, kind="earn", amount=30, balance_after=-20)
    Lot.objects.update(remaining=0)
    PointsAccount.objects.update(balance=-20, version=4)

    assert broken("--at-rest") == {}


@pytest.mark.parametrize("outcome", ["flagged", "closed", "no rule"])
def test_refusals_and_held_rewards_are_decisions_too(
    outcome: str, inviter: User, drain: Drain
) -> None:
    from points.models import RewardRule

    newcomer = register("c@example.com", inviter)
    if outcome == "no rule":
        RewardRule.objects.update(active_from=newcomer.registered_at.replace(year=2999))
    elif outcome == "flagged":
        flag_account(user_id=inviter.pk, reason="by_staff")
    else:
        close_account(user_id=inviter.pk, reason=CloseReason.REQUESTED)
    drain()

    assert RewardDecision.objects.count() == 2
    assert broken("--at-rest") == {}
