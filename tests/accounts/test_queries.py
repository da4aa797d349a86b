"""What other apps may ask accounts: one query each, plain values, no personal data."""

import uuid

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import queries
from accounts.models import User
from tests.accounts.conftest import Register, flag

pytestmark = pytest.mark.django_db


def test_accounts_by_id(
    register: Register, inviter: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    flag(inviter)
    others = [register().user for _ in range(5)]
    wanted = [inviter.pk, others[0].pk, uuid.uuid4()]

    with django_assert_num_queries(1):
        found = queries.accounts_by_id(wanted)

    assert set(found) == {inviter.pk, others[0].pk}
    assert found[inviter.pk] == queries.AccountSummary(
        id=inviter.pk,
        status="flagged",
        language="en",
        registered_at=inviter.registered_at,
        closed_at=None,
        is_returning=False,
    )
    assert "@" not in repr(found)


def test_referrals_by_invitee(
    register: Register, inviter: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    invited = register(referral_code=inviter.referral_code).user
    alone = register().user

    with django_assert_num_queries(1):
        found = queries.referrals_by_invitee([invited.pk, alone.pk])

    assert set(found) == {invited.pk}
    assert found[invited.pk].inviter_id == inviter.pk
    assert found[invited.pk].status == "approved"
    assert found[invited.pk].decided_at is not None


def test_the_invite_link_of_an_account(inviter: User, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://usher.example"

    code = queries.referral_code_of(inviter.pk)

    assert code == inviter.referral_code
    assert queries.invite_url(code) == f"https://usher.example/i/{code}/"


def test_the_code_of_nobody() -> None:
    with pytest.raises(User.DoesNotExist):
        queries.referral_code_of(uuid.uuid4())


def test_ids_by_email(
    register: Register, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    mei, jonas = register().user, register().user
    typed = f" {jonas.email.upper()} "
    asked = [mei.email, typed, "nobody@example.com", "", "@", "a@" + "é" * 99]

    with django_assert_num_queries(1):
        found = queries.ids_by_email(asked)

    assert found == {mei.email: mei.pk, typed: jonas.pk}
