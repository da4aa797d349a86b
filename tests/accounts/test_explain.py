"""`explain` tells what became of an account and its invitation, and finds who has left."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import transaction

from accounts.closing import CloseReason, close_account
from accounts.models import User
from accounts.signals import RiskDecided, risk_decided
from accounts.standing import flag_account
from events.models import Event
from tests.accounts.conftest import Register
from tests.conftest import Drain

pytestmark = pytest.mark.django_db(transaction=True)


def explain(*arguments: str) -> str:
    """Run the command; return what it printed."""
    out = StringIO()
    call_command("explain", *arguments, stdout=out)
    return out.getvalue()


def test_changes_of_status_are_told_with_who_and_why(
    inviter: User, register: Register, drain: Drain
) -> None:
    staff = register().user
    flag_account(user_id=inviter.pk, reason="by_staff", actor=staff.pk, note="Looks odd.")
    drain()

    story = explain("--user", "inviter@example.com")

    assert (
        f"accounts: the account went from active to flagged by account {staff.pk} "
        "(by_staff: Looks odd.)"
    ) in story
    assert "The account is flagged" in story


def test_signals_and_the_invitation_they_hold_are_told(
    inviter: User, register: Register, drain: Drain
) -> None:
    register(email="mei@mailinator.com", referral_code=inviter.referral_code, client="192.0.2.1")
    drain()

    story = explain("--user", "mei@mailinator.com")

    assert "accounts: noticed: a throw-away e-mail address (weight 50)" in story
    assert "network address" not in story
    assert f"The invitation by account {inviter.pk} is flagged (disposable_domain)" in story
    assert "Approve or void it in the admin" in story


def test_a_decision_and_what_it_did_are_one_story(inviter: User, drain: Drain) -> None:
    with transaction.atomic():
        risk_decided.publish(RiskDecided(user_id=inviter.pk, decision="flag", reason="odd"))
    drain()

    story = explain("--event", str(Event.objects.get(type="accounts.risk_decided").event_id))

    assert "accounts.apply_risk_decision: done" in story
    assert "accounts: the account went from active to flagged (risk_check: odd)" in story
    assert "accounts.account_flagged v1" in story


def test_who_has_left_is_found_by_the_former_address(register: Register, drain: Drain) -> None:
    first = register(email="mei@example.com").user
    close_account(user_id=first.pk, reason=CloseReason.REQUESTED, actor=first.pk)
    drain()

    story = explain("--user", " MEI@example.com")

    assert f"Account {first.pk}" in story
    assert "from active to closed" in story
    assert "@" not in story


def test_that_a_fraud_had_left_first_is_told(inviter: User, drain: Drain) -> None:
    for reason in (CloseReason.REQUESTED, CloseReason.FRAUD):
        close_account(user_id=inviter.pk, reason=reason, note="a ring")
    drain()

    story = explain("--user", "inviter@example.com")

    assert (
        "accounts: the account, which was closed already, was found to be a fraud's (fraud: a ring)"
    ) in story


def test_who_came_back_is_found_first(register: Register, drain: Drain) -> None:
    first = register(email="mei@example.com").user
    close_account(user_id=first.pk, reason=CloseReason.REQUESTED)
    second = register(email="mei@example.com").user
    drain()

    story = explain("--user", "mei@example.com")

    assert f"Account {second.pk}" in story
    assert "had an account before, which is closed" in story
