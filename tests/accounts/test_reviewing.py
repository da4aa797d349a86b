"""Staff flag, clear and close accounts and decide about referrals, each with a reason."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Referral, StatusChange, User
from accounts.standing import flag_account
from tests.accounts.conftest import PASSWORD, Register
from tests.accounts.test_standing import published, status_of

pytestmark = pytest.mark.django_db

ACCOUNTS = "/admin/accounts/user/"
REFERRALS = "/admin/accounts/referral/"


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser in which an administrator is logged in."""
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))
    return client


def support(*permissions: str) -> Client:
    """Return a browser in which a member of staff has these permissions and no more."""
    user = User.objects.create_user("support@example.com", PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, url: str, action: str, *rows: Any, reason: str | None = "Because.") -> Any:
    """Send an action of a list, with the reason filled in, or without: then it is asked for."""
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    answer = client.post(url, data | ({"reason": reason} if reason is not None else {}))
    return answer if answer.status_code != 302 else client.get(url)


@pytest.fixture
def flagged(inviter: User, register: Register) -> Referral:
    """Return a referral in the queue."""
    code = inviter.referral_code
    user = register(email="mei@mailinator.com", referral_code=code, client="192.0.2.1").user
    return Referral.objects.get(pk=user.pk)


def test_an_action_asks_for_a_reason_first(staff: Client, inviter: User) -> None:
    asked = act(staff, ACCOUNTS, "flag", inviter, reason=None)
    empty = act(staff, ACCOUNTS, "flag", inviter, reason="  ")

    for answer in (asked, empty):
        assert 'name="reason"' in answer.content.decode()
    assert "This field is required" in empty.content.decode()
    assert status_of(inviter) == "active"


def test_accounts_are_flagged_and_cleared(staff: Client, inviter: User) -> None:
    page = act(staff, ACCOUNTS, "flag", inviter, reason="Looks odd.").content.decode()
    assert "1 changed." in page
    assert status_of(inviter) == "flagged"

    again = act(staff, ACCOUNTS, "flag", inviter).content.decode()
    act(staff, ACCOUNTS, "clear", inviter)

    assert "1 was so already." in again
    assert status_of(inviter) == "active"
    first = StatusChange.objects.order_by("pk")[0]
    assert (first.reason, first.note, str(first.actor)) == (
        "by_staff",
        "Looks odd.",
        "admin@example.com",
    )
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(inviter.pk)] * 2
    assert "odd" not in str(published("account_flagged"))


def test_accounts_are_closed_and_forgotten(staff: Client, inviter: User) -> None:
    page = act(staff, ACCOUNTS, "close", inviter, reason="Inviter@example.com wrote").content

    assert "1 changed." in page.decode()
    assert published("account_closed")[0][1]["reason"] == "requested"
    assert "inviter@" not in str(list(StatusChange.objects.values())).lower()
    assert "inviter@" not in str(list(LogEntry.objects.values())).lower()
    refused = act(staff, ACCOUNTS, "flag", inviter).content.decode()
    assert "closed, and that is final" in refused


def test_a_fraud_s_account_is_closed_with_its_referrals(
    staff: Client, inviter: User, flagged: Referral
) -> None:
    act(staff, ACCOUNTS, "close_as_fraud", inviter)

    assert published("account_closed")[0][1]["reason"] == "fraud"
    assert Referral.objects.get().status == "voided"


def test_the_queue_shows_what_a_decision_needs(staff: Client, flagged: Referral) -> None:
    page = staff.get(REFERRALS, {"status__exact": "flagged"}).content.decode()
    account = staff.get(f"{ACCOUNTS}{flagged.pk}/change/").content.decode()

    for words in ("mei@mailinator.com", "inviter@example.com", "a throw-away e-mail address"):
        assert words in page
    assert "a throw-away e-mail address (50)" in page
    assert "a throw-away e-mail address (50)" in account
    assert "network address" not in page


@pytest.mark.parametrize(("action", "status"), [("approve", "approved"), ("void", "voided")])
def test_referrals_are_decided(staff: Client, flagged: Referral, action: str, status: str) -> None:
    page = act(staff, REFERRALS, action, flagged, reason="We asked.").content.decode()

    assert "1 changed." in page
    assert Referral.objects.get().status == status
    assert StatusChange.objects.get().note == "We asked."
    assert LogEntry.objects.get().object_id == str(flagged.pk)


def test_each_row_tells_its_own_result(
    staff: Client, inviter: User, flagged: Referral, register: Register
) -> None:
    approved, void = (
        Referral.objects.get(pk=register(referral_code=inviter.referral_code).user.pk)
        for _ in range(2)
    )
    act(staff, REFERRALS, "void", void)

    page = act(staff, REFERRALS, "approve", flagged, approved, void).content.decode()

    assert "1 changed." in page
    assert "1 was so already." in page
    assert "declared void, and that is final" in page
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("url", "action"),
    [
        (ACCOUNTS, "flag"),
        (ACCOUNTS, "clear"),
        (ACCOUNTS, "close"),
        (ACCOUNTS, "close_as_fraud"),
        (REFERRALS, "approve"),
        (REFERRALS, "void"),
    ],
)
def test_without_the_permission_nothing_is_offered_or_done(
    url: str, action: str, inviter: User, flagged: Referral
) -> None:
    client = support("view_user", "change_user", "view_referral")

    page = act(client, url, action, inviter, flagged).content.decode()

    assert f'value="{action}"' not in page
    assert status_of(inviter) == "active"
    assert not StatusChange.objects.exists()


def test_accounts_that_carry_rights_are_for_superusers(inviter: User) -> None:
    User.objects.filter(pk=inviter.pk).update(is_staff=True)

    page = act(support("view_user", "flag_user"), ACCOUNTS, "flag", inviter).content.decode()

    assert "Only superusers change accounts of staff." in page
    assert status_of(inviter) == "active"


def test_the_history_is_shown_and_found(
    staff: Client, inviter: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    flag_account(user_id=inviter.pk, reason="by_staff", note="Looks odd.")
    url = "/admin/accounts/statuschange/"

    for term in (str(inviter.pk), "inviter@example.com"):
        with django_assert_max_num_queries(8):
            assert "Looks odd." in staff.get(url, {"q": term}).content.decode()
    assert "Looks odd." not in staff.get(url, {"q": "other@example.com"}).content.decode()
    assert staff.post(f"{url}{StatusChange.objects.get().pk}/delete/").status_code == 403
