"""Staff look accounts up; history is shown and not edited."""

from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from pytest_django import DjangoAssertNumQueries

from accounts import services
from accounts.models import Referral, User
from tests.accounts.conftest import PASSWORD, Register, close, flag

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser in which the first administrator is logged in."""
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))
    return client


@pytest.fixture
def support(client: Client) -> Client:
    """Return a browser in which a member of staff may view and change accounts, no more."""
    user = User.objects.create_user("support@example.com", PASSWORD, is_staff=True)
    names = ("view_user", "change_user")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
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


def test_the_queue_of_reviews_has_a_link_and_begins_with_who_waits_the_longest(
    staff: Client, inviter: User, register: Register
) -> None:
    people = [
        register(email=f"{name}@example.com", referral_code=inviter.referral_code).user
        for name in ("first", "second", "third")
    ]
    for person, days in zip(people, (1, 3, 2), strict=True):
        Referral.objects.filter(pk=person.pk).update(
            status="flagged", decided_at=timezone.now() - timedelta(days=days)
        )
    Referral.objects.filter(pk=people[2].pk).update(status="approved")

    html = staff.get("/admin/accounts/referral/").content.decode()
    queue = staff.get("/admin/accounts/referral/?status__exact=flagged")

    assert 'href="?status__exact=flagged"' in html
    assert "2 wait for a review" in html
    assert [row.pk for row in queue.context["cl"].result_list] == [people[1].pk, people[0].pk]


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


def test_a_closed_account_cannot_be_opened_by_a_tick(staff: Client, inviter: User) -> None:
    close(inviter)
    url = f"/admin/accounts/user/{inviter.pk}/change/"

    page = staff.get(url).content.decode()
    answer = staff.post(url, {"language": "zh-hans", "is_active": "on"})

    assert 'name="is_active"' not in page
    assert answer.status_code == 302
    closed = User.objects.get(pk=inviter.pk)
    assert (closed.is_active, closed.status, closed.language) == (False, "closed", "zh-hans")


def test_a_login_can_be_taken_and_given_back(staff: Client, inviter: User) -> None:
    url = f"/admin/accounts/user/{inviter.pk}/change/"

    for ticked in ({}, {"is_active": "on"}):
        staff.post(url, {"language": "en", **ticked})
        assert User.objects.get(pk=inviter.pk).is_active is bool(ticked)


def test_only_superusers_give_rights(support: Client, inviter: User) -> None:
    url = f"/admin/accounts/user/{inviter.pk}/change/"
    group = Group.objects.create(name="everything")
    permission = Permission.objects.first()
    assert permission

    page = support.get(url).content.decode()
    answer = support.post(
        url,
        {
            "language": "zh-hans",
            "is_active": "on",
            "is_staff": "on",
            "is_superuser": "on",
            "groups": [group.pk],
            "user_permissions": [permission.pk],
        },
    )

    assert answer.status_code == 302
    assert 'name="language"' in page
    for name in ("is_staff", "is_superuser", "groups", "user_permissions"):
        assert f'name="{name}"' not in page
    changed = User.objects.get(pk=inviter.pk)
    assert (changed.language, changed.is_staff, changed.is_superuser) == ("zh-hans", False, False)
    assert not changed.groups.exists()
    assert not changed.user_permissions.exists()


@pytest.mark.parametrize("rights", ["is_superuser", "is_staff"])
def test_only_superusers_change_the_accounts_of_staff(
    support: Client, inviter: User, rights: str
) -> None:
    User.objects.filter(pk=inviter.pk).update(**{rights: True})
    url = f"/admin/accounts/user/{inviter.pk}"
    typed = {"password1": "a newer long one", "password2": "a newer long one"}

    assert support.get(f"{url}/change/").status_code == 200
    assert support.post(f"{url}/change/", {"language": "zh-hans"}).status_code == 403
    assert support.get(f"{url}/password/").status_code == 403
    assert support.post(f"{url}/password/", typed).status_code == 403
    unchanged = User.objects.get(pk=inviter.pk)
    assert unchanged.is_active
    assert unchanged.check_password(PASSWORD)


def test_support_sets_the_password_of_a_person(support: Client, inviter: User) -> None:
    typed = {"password1": "a newer long one", "password2": "a newer long one"}

    support.post(f"/admin/accounts/user/{inviter.pk}/password/", typed)

    assert User.objects.get(pk=inviter.pk).check_password("a newer long one")


def test_addresses_are_shown_and_confirmed_by_their_owners_only(
    staff: Client, inviter: User, mandatory: None
) -> None:
    address = EmailAddress.objects.get(user=inviter)
    url = "/admin/account/emailaddress/"

    listed = staff.get(url, {"q": "inviter@"}).content.decode()
    staff.post(url, {"action": "make_verified", "_selected_action": [address.pk]})

    assert "inviter@example.com" in listed
    assert "make_verified" not in listed
    assert staff.get(f"{url}{address.pk}/change/").status_code == 200
    assert staff.post(f"{url}{address.pk}/change/", {"verified": "on"}).status_code == 403
    assert staff.post(f"{url}{address.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.post(f"{url}add/", {"user": inviter.pk}).status_code == 403
    assert not EmailAddress.objects.get(pk=address.pk).verified


def test_tokens_are_neither_made_nor_shown(staff: Client, inviter: User) -> None:
    token, _expires_at = services.issue_token(user=inviter)
    stored = AuthToken.objects.get()
    url = "/admin/knox/authtoken/"

    listed = staff.get(url, {"q": "inviter@"}).content.decode()
    page = staff.get(f"{url}{stored.pk}/change/").content.decode()

    assert "inviter@example.com" in listed
    assert staff.post(f"{url}add/", {"user": inviter.pk}).status_code == 403
    assert staff.post(f"{url}{stored.pk}/change/", {"expiry_0": ""}).status_code == 403
    assert token[:8] not in listed
    assert token[:8] not in page
    assert stored.digest not in listed
    assert AuthToken.objects.count() == 1
