"""The audit of rewards: what is lost is found and made once; what is doubled is only told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from accounts import closing, referrals, standing
from accounts.closing import CloseReason
from accounts.models import User
from accounts.signals import AccountFlagged, ReferralVoided
from events.envelope import Event
from events.models import Delivery, DeliveryState
from points import holding
from points.append_only import protect, unprotect
from points.audits import audit_accounts, audit_referrals, audit_rewards
from points.ledger import Lot
from points.models import Entry, PointsAccount, RewardDecision
from points.queries import ACCOUNT_RECEIVER, REFERRAL_RECEIVER, REWARD_RECEIVER
from tests.conftest import Drain
from tests.invariants import without_constraint
from tests.points.factories import make_account, make_entry, make_rule
from tests.points.test_receiver import effects, register
from tests.reconciling import forget_deliveries, kinds, reconcile, statements
from tests.registrations import all_registered, close, flag, make_people, make_person

pytestmark = pytest.mark.django_db(transaction=True)

MISSING, TORN, DOUBLED = [(REWARD_RECEIVER, k) for k in ("missing", "torn", "doubled")]
LEDGER = ("points.ledger", "figures")


@contextmanager
def unprotected_ledger() -> Iterator[None]:
    """Let a block change entries."""
    with connection.schema_editor() as editor:
        unprotect(editor, Entry._meta.db_table)
    yield
    with connection.schema_editor() as editor:
        protect(editor, Entry._meta.db_table)


def delete_entries() -> None:
    """Delete all entries, past what refuses it."""
    with unprotected_ledger(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {Entry._meta.db_table}")  # noqa: S608


def lose_reward() -> None:
    """Delete what the registration brought its inviter, as if the receiver had never run."""
    Lot.objects.all().delete()
    delete_entries()
    RewardDecision.objects.all().delete()
    PointsAccount.objects.update(balance=0, lifetime_earned=0, version=0)


@pytest.fixture
def inviter(drain: Drain) -> User:
    """Return somebody who got 100 points for inviting one person."""
    make_rule(points=100)
    mei = register("mei")
    register("tom", inviter=mei)
    drain()
    return mei


@pytest.mark.parametrize("is_pruned", [False, True])
def test_a_lost_reward_is_found_and_granted_once(
    inviter: User, drain: Drain, is_pruned: bool
) -> None:
    lose_reward()
    if is_pruned:
        forget_deliveries(REWARD_RECEIVER)

    found = reconcile()
    first = reconcile("--repair")
    at_once = reconcile("--repair")
    drain()
    later = reconcile("--repair")

    assert kinds(found) == kinds(first) == [MISSING]
    assert kinds(at_once) == kinds(later) == []
    assert effects() == (1, 1, [100])


def test_a_granted_reward_without_its_entry_is_told_and_not_redelivered(inviter: User) -> None:
    Lot.objects.all().delete()
    delete_entries()

    found = reconcile("--repair")

    assert TORN in kinds(found)
    assert LEDGER in kinds(found)
    assert found["repaired"] == 0
    assert set(Delivery.objects.values_list("state", flat=True)) == {DeliveryState.DONE}


def test_an_entry_without_its_decision_is_told_and_not_redelivered(inviter: User) -> None:
    RewardDecision.objects.all().delete()

    found = reconcile("--repair")

    assert kinds(found) == [TORN]
    assert found["repaired"] == 0


def test_a_doubled_credit_is_told_and_stays(inviter: User) -> None:
    earned = Entry.objects.get()
    PointsAccount.objects.update(balance=200, lifetime_earned=200, version=2)
    make_entry(
        earned.account,
        number=2,
        amount=100,
        balance_after=200,
        reason="referral",
        event_id=earned.event_id,
    )

    found = reconcile("--repair")

    assert DOUBLED in kinds(found)
    assert Entry.objects.count() == 2


def test_a_doubled_decision_is_told_and_stays(inviter: User) -> None:
    decision = RewardDecision.objects.get()
    with without_constraint(RewardDecision, "points_rewarddecision_once_per_invitee"):
        decision.pk = make_person().pk
        decision.save(force_insert=True)

        found = reconcile("--repair")

        assert DOUBLED in kinds(found)
        assert RewardDecision.objects.count() == 2


def test_a_balance_that_is_not_the_sum_of_its_entries_is_told(inviter: User) -> None:
    PointsAccount.objects.update(balance=1)

    found = reconcile("--repair")

    assert kinds(found) == [LEDGER]
    assert found["findings"][0]["ids"] == [str(inviter.pk)]


@pytest.mark.parametrize("harm", [flag, close])
def test_refusals_and_held_rewards_are_decisions(
    harm: Callable[[User], None], drain: Drain
) -> None:
    make_rule(cap_total=1, hold_days=3)
    mei = register("mei")
    for name in ("tom", "ada"):
        register(name, inviter=mei)
    harm(mei)
    drain()

    assert reconcile("--receiver", REWARD_RECEIVER)["findings"] == []
    assert RewardDecision.objects.count() == 2


def test_nobody_is_owed_a_reward_for_who_was_not_invited() -> None:
    assert list(audit_rewards(all_registered(make_people(2)))) == []


def test_an_audit_asks_for_all_events_at_once() -> None:
    inviter = make_person()
    make_account(inviter)
    few, many = (all_registered(make_people(n), inviter) for n in (2, 100))

    assert statements(lambda: list(audit_rewards(few))) == 2
    assert statements(lambda: list(audit_rewards(many))) == 2


def let_it_do_nothing(monkeypatch: pytest.MonkeyPatch, drain: Drain, name: str) -> None:
    """Deliver what is due while a service forgets to do its work."""
    with monkeypatch.context() as forgetful:
        forgetful.setattr(holding, name, lambda **given: None)
        drain()


def state_of(user: User) -> tuple[bool, bool]:
    """Return whether somebody's points account is frozen, and whether it is closed."""
    account = PointsAccount.objects.get(user=user)
    return account.frozen_at is not None, account.closed_at is not None


@pytest.mark.parametrize(("status", "after"), [("flag", (True, False)), ("close", (False, True))])
def test_an_account_that_did_not_follow_is_found_and_brought_in_line(
    status: str,
    after: tuple[bool, bool],
    inviter: User,
    drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if status == "flag":
        standing.flag_account(user_id=inviter.pk, reason="test")
    else:
        closing.close_account(user_id=inviter.pk, reason=CloseReason.REQUESTED)
    let_it_do_nothing(monkeypatch, drain, "follow_account")
    assert state_of(inviter) == (False, False)

    first = reconcile("--receiver", ACCOUNT_RECEIVER, "--repair")
    drain()
    second = reconcile("--receiver", ACCOUNT_RECEIVER, "--repair")

    assert kinds(first) == [(ACCOUNT_RECEIVER, "missing")]
    assert kinds(second) == []
    assert state_of(inviter) == after


def test_a_person_who_was_cleared_again_owes_no_freezing(inviter: User, drain: Drain) -> None:
    standing.flag_account(user_id=inviter.pk, reason="test")
    standing.clear_account(user_id=inviter.pk, reason="test")
    drain()

    assert reconcile()["findings"] == []


def test_a_reward_that_waits_for_a_review_that_is_over_is_found_and_granted(
    inviter: User, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    invitee = register("zoe", inviter=inviter)
    standing.flag_account(user_id=invitee.pk, reason="test")
    drain()
    assert RewardDecision.objects.get(invitee=invitee).reason == "invitee_flagged"
    standing.clear_account(user_id=invitee.pk, reason="test")
    let_it_do_nothing(monkeypatch, drain, "follow_account")

    first = reconcile("--receiver", ACCOUNT_RECEIVER, "--repair")
    drain()
    second = reconcile("--receiver", ACCOUNT_RECEIVER, "--repair")

    assert kinds(first) == [(ACCOUNT_RECEIVER, "missing")]
    assert kinds(second) == []
    assert RewardDecision.objects.get(invitee=invitee).outcome == "granted"


def test_a_reward_of_a_void_referral_is_found_and_taken_back_once(
    inviter: User, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    invitee_id = RewardDecision.objects.get().invitee_id
    referrals.void_referral(invitee_id=invitee_id, reason="fraud")
    let_it_do_nothing(monkeypatch, drain, "follow_referral")
    assert effects() == (1, 1, [100])

    first = reconcile("--repair")
    drain()
    second = reconcile("--repair")

    assert kinds(first) == [(REFERRAL_RECEIVER, "missing")]
    assert kinds(second) == []
    assert effects() == (1, 2, [0])


def test_a_void_reward_whose_points_are_still_there_is_told_and_not_redelivered(
    inviter: User, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    referrals.void_referral(invitee_id=RewardDecision.objects.get().invitee_id, reason="fraud")
    let_it_do_nothing(monkeypatch, drain, "follow_referral")
    RewardDecision.objects.update(outcome="voided", reason="referral_voided")

    found = reconcile("--receiver", REFERRAL_RECEIVER, "--repair")

    assert kinds(found) == [(REFERRAL_RECEIVER, "torn")]
    assert found["repaired"] == 0


def test_audits_of_standing_ask_for_all_events_at_once(inviter: User, drain: Drain) -> None:
    people = make_people(20)
    event: Event[Any] = all_registered(people)[0]
    accounts = [replace(event, data=AccountFlagged(user_id=p.pk, reason="test")) for p in people]
    invitations = [
        replace(event, data=ReferralVoided(invitee_id=p.pk, inviter_id=inviter.pk, reason="x"))
        for p in people
    ]

    assert statements(lambda: list(audit_accounts(accounts))) == 3
    assert statements(lambda: list(audit_referrals(invitations))) == 3
