"""An invite link remembers who invited, leads to sign-up, and never reveals who that is."""

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

import codes
from accounts.models import Referral, User
from accounts.views import INVITATION_COOKIE
from tests.accounts.conftest import PASSWORD, Register, close

pytestmark = pytest.mark.django_db

SIGN_UP = "/accounts/signup/"
UNUSABLE = "This invitation can't be used. You can sign up without it."


def follow(client: Client, code: str) -> str:
    """Follow an invite link and return the page it leads to."""
    return client.get(reverse("invite", args=[code]), follow=True).content.decode()


def test_the_link_leads_to_sign_up_with_the_code_filled_in(client: Client, inviter: User) -> None:
    answer = client.get(f"/i/{inviter.referral_code}/")
    page = client.get(answer["Location"]).content.decode()

    assert (answer.status_code, answer["Location"]) == (302, SIGN_UP)
    assert f'value="{inviter.referral_code}"' in page
    assert "You were invited" in page
    assert inviter.email not in page


@pytest.mark.parametrize("spelled", ["lower", "spaced"])
def test_the_link_may_be_typed_by_hand(client: Client, inviter: User, spelled: str) -> None:
    code = inviter.referral_code
    typed = {"lower": code.lower(), "spaced": f"{code[:4]}-{code[4:]}"}[spelled]

    assert f'value="{code}"' in follow(client, typed)


@pytest.mark.parametrize("code", ["unknown", "23456789", "x" * 2000, "\x00", "💥", "\ufffd", "-"])
def test_an_unusable_link_says_so_and_sign_up_goes_on(client: Client, code: str) -> None:
    page = follow(client, code)

    assert UNUSABLE in page
    assert 'name="referral_code"' in page
    assert client.post(SIGN_UP, typed(referral_code="")).status_code == 302


def test_a_closed_inviter_s_link_is_unusable(client: Client, inviter: User) -> None:
    close(inviter)

    page = follow(client, inviter.referral_code)

    assert UNUSABLE in page
    assert inviter.referral_code not in page


def test_the_invitation_survives_other_pages_and_a_failed_form(
    client: Client, inviter: User
) -> None:
    follow(client, inviter.referral_code)
    client.get("/accounts/login/")

    failed = client.post(SIGN_UP, typed(password1="short", referral_code=inviter.referral_code))

    assert f'value="{inviter.referral_code}"' in failed.content.decode()
    assert f'value="{inviter.referral_code}"' in client.get(SIGN_UP).content.decode()


def test_a_sign_up_through_the_link_credits_the_inviter_and_forgets_the_link(
    client: Client, inviter: User
) -> None:
    follow(client, inviter.referral_code)

    client.post(SIGN_UP, typed(referral_code=inviter.referral_code))

    assert Referral.objects.get().inviter == inviter
    assert client.cookies[INVITATION_COOKIE].value == ""


def test_a_person_may_sign_up_without_the_code_that_was_filled_in(
    client: Client, inviter: User
) -> None:
    follow(client, inviter.referral_code)

    client.post(SIGN_UP, typed(referral_code=""))

    assert User.objects.filter(email="mei@example.com").exists()
    assert not Referral.objects.exists()


def test_a_later_link_replaces_an_earlier_one(
    client: Client, inviter: User, register: Register
) -> None:
    other = register().user
    follow(client, inviter.referral_code)

    assert f'value="{other.referral_code}"' in follow(client, other.referral_code)


def test_following_a_link_writes_nothing_and_is_not_cached(
    client: Client, inviter: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        answer = client.get(f"/i/{inviter.referral_code}/")

    assert "no-store" in answer["Cache-Control"]
    assert answer.cookies[INVITATION_COOKIE]["httponly"]
    assert answer.cookies[INVITATION_COOKIE]["samesite"] == "Lax"


def test_a_tampered_cookie_is_ignored(client: Client) -> None:
    client.cookies[INVITATION_COOKIE] = f"{codes.generate(8)}:forged:signature"

    page = client.get(SIGN_UP).content.decode()

    assert "You were invited" not in page
    assert UNUSABLE not in page


def test_whoever_is_logged_in_goes_to_their_wallet(client: Client, inviter: User) -> None:
    client.force_login(inviter)

    answer = client.get(f"/i/{inviter.referral_code}/")

    assert (answer.status_code, answer["Location"]) == (302, "/wallet/")
    assert INVITATION_COOKIE not in answer.cookies


def test_only_safe_methods_follow_a_link(client: Client, inviter: User) -> None:
    assert client.head(f"/i/{inviter.referral_code}/").status_code == 302
    assert client.post(f"/i/{inviter.referral_code}/").status_code == 405


def typed(**given: str) -> dict[str, str]:
    """Return a filled-in sign-up form."""
    return {"email": "mei@example.com", "password1": PASSWORD} | given
