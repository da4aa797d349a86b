"""Staff look accounts up; history is shown and not edited."""

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Referral, User
from tests.accounts.conftest import PASSWORD, Register, flag

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser in which the first administrator is logged in."""
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))
    return client


def test_accounts_are_found_by_address_and_code(
    staff: Client, inviter: User, register: Register
) -> None:
    register(email="other@example.com")

    for term in ("inviter@", inviter.referral_code):
        page = staff.get("/admin/accounts/user/", {"q": term}).content.decode()
        assert "inviter@example.com" in page
        assert "other@example.com" not in page


def test_an_account_s_page_edits_permissions_only(staff: Client, inviter: User) -> None:
    url = f"/admin/accounts/user/{inviter.pk}/change/"
    page = staff.get(url).content.decode()
    flag(inviter)

    answer = staff.post(
        url,
        {
            "email": "changed@example.com",
            "status": "active",
            "registered_at": "",
            "referral_code": "AAAAAAAA",
            "language": "zh-hans",
            "is_active": "on",
            "is_staff": "on",
        },
    )

    assert answer.status_code == 302
    assert 'name="email"' not in page
    assert PASSWORD not in page
    changed = User.objects.get(pk=inviter.pk)
    assert (changed.is_staff, changed.language) == (True, "zh-hans")
    assert (changed.email, changed.status) == ("inviter@example.com", "flagged")
    assert changed.registered_at == inviter.registered_at
    assert changed.referral_code == inviter.referral_code


def test_a_password_can_be_set_for_somebody(staff: Client, inviter: User) -> None:
    url = f"/admin/accounts/user/{inviter.pk}/password/"

    staff.post(url, {"password1": "a newer long one", "password2": "a newer long one"})

    assert User.objects.get(pk=inviter.pk).check_password("a newer long one")


def test_accounts_are_neither_added_nor_deleted(staff: Client, inviter: User) -> None:
    assert staff.get("/admin/accounts/user/add/").status_code == 403
    assert staff.post(f"/admin/accounts/user/{inviter.pk}/delete/").status_code == 403


def test_referrals_are_shown_and_not_edited(
    staff: Client, inviter: User, register: Register
) -> None:
    invitee = register(email="invitee@example.com", referral_code=inviter.referral_code).user

    listed = staff.get("/admin/accounts/referral/", {"q": "invitee@"}).content.decode()
    url = f"/admin/accounts/referral/{invitee.pk}"

    assert "inviter@example.com" in listed
    assert staff.get(f"{url}/change/").status_code == 200
    assert staff.post(f"{url}/change/", {"status": "voided"}).status_code == 403
    assert staff.post(f"{url}/delete/").status_code == 403
    assert staff.get("/admin/accounts/referral/add/").status_code == 403
    assert Referral.objects.get().status == "approved"


@pytest.mark.parametrize("people", [1, 20])
def test_lists_cost_the_same_however_long(
    staff: Client,
    inviter: User,
    register: Register,
    people: int,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(people):
        register(referral_code=inviter.referral_code)

    for url in ("/admin/accounts/user/", "/admin/accounts/referral/"):
        with django_assert_max_num_queries(8):
            assert staff.get(url).status_code == 200
