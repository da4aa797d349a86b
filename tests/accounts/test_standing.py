"""Accounts come under review and out of it again; what waits for them is decided with it."""

from functools import partial
from itertools import pairwise
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import standing
from accounts.append_only import AppendOnly
from accounts.models import Referral, StatusChange, User
from accounts.standing import AccountIsClosed, clear_account, flag_account
from events.models import Event
from tests.accounts.conftest import Register, close
from tests.parallel import run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def published(*types: str) -> list[tuple[str, dict[str, str]]]:
    """Return the events of accounts of these types, in order."""
    wanted = Event.objects.filter(type__in=[f"accounts.{name}" for name in types])
    return [
        (event.type.removeprefix("accounts."), event.data) for event in wanted.order_by("position")
    ]


def status_of(user: User) -> str:
    return User.objects.get(pk=user.pk).status


def test_flagging_changes_the_status_and_says_so(inviter: User, register: Register) -> None:
    staff = register().user

    assert flag_account(user_id=inviter.pk, reason="by_staff", actor=staff.pk, note="Looks odd.")

    assert status_of(inviter) == "flagged"
    assert published("account_flagged") == [
        ("account_flagged", {"user_id": str(inviter.pk), "reason": "by_staff"})
    ]
    change = StatusChange.objects.get()
    assert (change.user, change.actor, change.subject) == (inviter, staff, "account")
    assert (change.before, change.after) == ("active", "flagged")
    assert (change.reason, change.note) == ("by_staff", "Looks odd.")
    assert change.event_id == Event.objects.get(type="accounts.account_flagged").event_id


def test_clearing_undoes_it(inviter: User) -> None:
    flag_account(user_id=inviter.pk, reason="by_staff")

    assert clear_account(user_id=inviter.pk, reason="by_staff")

    assert status_of(inviter) == "active"
    kinds = [kind for kind, _ in published("account_flagged", "account_cleared")]
    assert kinds == ["account_flagged", "account_cleared"]


def test_a_repeat_does_nothing(inviter: User) -> None:
    assert not clear_account(user_id=inviter.pk, reason="by_staff")
    assert flag_account(user_id=inviter.pk, reason="by_staff")
    assert not flag_account(user_id=inviter.pk, reason="risk_check")

    assert len(published("account_flagged", "account_cleared")) == 1
    assert StatusChange.objects.count() == 1


@pytest.mark.parametrize("change", [flag_account, clear_account])
def test_a_closed_account_refuses(inviter: User, change: object) -> None:
    close(inviter)

    with pytest.raises(AccountIsClosed, match="closed, and that is final"):
        change(user_id=inviter.pk, reason="by_staff")  # type: ignore[operator]

    assert status_of(inviter) == "closed"
    assert not StatusChange.objects.exists()


def test_nobody_cannot_be_flagged() -> None:
    with pytest.raises(User.DoesNotExist):
        flag_account(user_id=uuid4(), reason="by_staff")


def test_clearing_an_inviter_approves_what_waited_for_that_alone(
    inviter: User, register: Register
) -> None:
    before = register(referral_code=inviter.referral_code).user
    flag_account(user_id=inviter.pk, reason="by_staff")
    alone, other = (register(referral_code=inviter.referral_code).user for _ in range(2))
    Referral.objects.filter(pk=other.pk).update(reasons=["inviter_flagged", "same_person"])

    clear_account(user_id=inviter.pk, reason="by_staff")

    statuses = dict(Referral.objects.values_list("pk", "status"))
    assert statuses == {before.pk: "approved", alone.pk: "approved", other.pk: "flagged"}
    assert Referral.objects.get(pk=other.pk).reasons == ["same_person"]
    assert published("referral_approved") == [
        ("referral_approved", {"invitee_id": str(alone.pk), "inviter_id": str(inviter.pk)})
    ]


def test_clearing_costs_the_same_for_many_referrals(inviter: User, register: Register) -> None:
    costs = []
    for number in (1, 15):
        flag_account(user_id=inviter.pk, reason="by_staff")
        for _ in range(number):
            register(referral_code=inviter.referral_code)
        with CaptureQueriesContext(connection) as captured:
            clear_account(user_id=inviter.pk, reason="by_staff")
        costs.append(len(captured))

    assert costs[0] == costs[1]
    assert not Referral.objects.exclude(status="approved").exists()


def test_many_at_once_flag_once(inviter: User) -> None:
    flag = partial(flag_account, user_id=inviter.pk, reason="by_staff")

    assert sorted(run_at_once([flag] * 12)) == [False] * 11 + [True]

    assert len(published("account_flagged")) == StatusChange.objects.count() == 1


def test_the_history_follows_the_status_whatever_is_done_at_once(inviter: User) -> None:
    change = [
        partial(function, user_id=inviter.pk, reason="by_staff")
        for function in (standing.flag_account, standing.clear_account)
    ]

    run_at_once(change * 6)

    rows = list(StatusChange.objects.order_by("pk").values_list("before", "after"))
    assert all(after == before for (_, after), (before, _) in pairwise(rows))
    assert rows[-1][1] == status_of(inviter)
    kinds = [kind for kind, _ in published("account_flagged", "account_cleared")]
    assert kinds == [f"account_{'cleared' if a == 'active' else a}" for _, a in rows]


def test_history_is_neither_changed_nor_deleted(inviter: User) -> None:
    flag_account(user_id=inviter.pk, reason="by_staff")
    change = StatusChange.objects.get()

    with pytest.raises(AppendOnly):
        change.save()
    with pytest.raises(AppendOnly):
        change.delete()
