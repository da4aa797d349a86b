"""Forms sent twice, too late, or after something changed: one account, and nothing typed lost."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register, registered_events
from tests.accounts.factors import set_up_app

pytestmark = pytest.mark.django_db

SIGN_UP = "/accounts/signup/"
TYPED = {"email": "mei@example.com", "password1": PASSWORD, "referral_code": ""}
HERE = {"Origin": "http://testserver"}


@pytest.fixture(autouse=True)
def _fresh_limits() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def is_in(browser: Client) -> bool:
    """Tell whether a browser is logged in."""
    return browser.get("/wallet/").status_code == 200


# --- Sent twice -----------------------------------------------------------------------------------


def test_a_sign_up_that_is_reloaded_makes_one_account(client: Client) -> None:
    client.post(SIGN_UP, TYPED)

    answer: Any = client.post(SIGN_UP, TYPED)

    assert answer["Location"] == "/wallet/"
    assert User.objects.count() == len(registered_events()) == 1


def test_a_sign_up_whose_answer_was_lost_is_sent_again_and_opens_the_account() -> None:
    Client().post(SIGN_UP, TYPED)
    browser = Client()  # without the cookie that did not arrive

    answer: Any = browser.post(SIGN_UP, TYPED | {"email": " MEI@example.com"})

    assert answer["Location"] == "/wallet/"
    assert User.objects.count() == len(registered_events()) == 1
    page = browser.get("/wallet/").content.decode()
    assert "You have signed up already, and are logged in." in page


def test_a_sign_up_that_is_sent_again_says_nothing_of_a_login_that_waits_for_its_code() -> None:
    Client().post(SIGN_UP, TYPED)
    set_up_app(User.objects.get())
    inviter = User.objects.create_user("inviter@example.com", "irrelevant")
    browser = Client()
    browser.get(f"/i/{inviter.referral_code}/")

    answer: Any = browser.post(SIGN_UP, TYPED, follow=True)

    assert answer.redirect_chain[-1][0].startswith("/accounts/2fa/authenticate/")
    assert "You have signed up already" not in answer.content.decode()
    assert not is_in(browser)
    assert not browser.cookies["invitation"].value


def test_a_sign_up_for_an_account_from_before_says_to_log_in(
    client: Client, register: Register
) -> None:
    register(email="mei@example.com")
    User.objects.update(created_at=timezone.now() - timedelta(hours=1))

    answer = client.post(SIGN_UP, TYPED)

    assert "Log in instead." in answer.content.decode()
    assert not is_in(client)


def test_a_sign_up_with_anothers_address_opens_nothing_and_keeps_what_was_typed(
    client: Client, register: Register
) -> None:
    register(email="mei@example.com")

    answer = client.post(SIGN_UP, TYPED | {"password1": "not the right one", "referral_code": "X"})

    page = answer.content.decode()
    assert "An account with this e-mail address already exists. Log in instead." in page
    assert 'value="mei@example.com"' in page
    assert 'value="X"' in page
    assert "not the right one" not in page
    assert not is_in(client)


def test_a_sign_up_sent_again_does_not_go_round_the_second_factor(
    client: Client, register: Register
) -> None:
    set_up_app(register(email="mei@example.com").user)

    answer: Any = client.post(SIGN_UP, TYPED)

    assert answer["Location"].startswith("/accounts/2fa/authenticate/")
    assert not is_in(client)


def test_guessing_passwords_by_the_sign_up_is_limited_as_at_the_login(
    client: Client, register: Register, settings: Settings
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}  # as outside of tests
    register(email="mei@example.com")
    for number in range(5):
        client.post(SIGN_UP, TYPED | {"password1": f"a wrong guess {number}"})

    client.post(SIGN_UP, TYPED)

    assert not is_in(client)


def test_two_tabs_sign_the_same_person_up_once(client: Client) -> None:
    client.get(SIGN_UP)
    client.get(SIGN_UP)

    answers: list[Any] = [client.post(SIGN_UP, TYPED) for _ in range(2)]

    assert [answer["Location"] for answer in answers] == ["/wallet/", "/wallet/"]
    assert User.objects.count() == 1


def test_the_form_that_back_shows_leads_on_to_who_is_logged_in(client: Client) -> None:
    client.post(SIGN_UP, TYPED)

    answer: Any = client.get(SIGN_UP)

    assert answer["Location"] == "/wallet/"


# --- Sent too late --------------------------------------------------------------------------------


def browser_with_an_old_token() -> Client:
    """Return a browser whose forms were made before its token was replaced."""
    browser = Client(enforce_csrf_checks=True)
    browser.cookies["csrftoken"] = "a" * 32
    return browser


def test_a_form_with_an_old_token_keeps_what_was_typed_but_for_the_password() -> None:
    browser = browser_with_an_old_token()
    late = TYPED | {"referral_code": "7KQ2M9XW", "csrfmiddlewaretoken": "b" * 32}

    answer = browser.post(SIGN_UP, late, headers=HERE)

    page = answer.content.decode()
    assert answer.status_code == 403
    assert "What you typed is kept: send it again." in page
    assert "You will be asked for the password once more." in page
    assert PASSWORD not in page
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    assert kept.pop("csrfmiddlewaretoken")
    assert kept == {"email": "mei@example.com", "referral_code": "7KQ2M9XW"}


def test_what_was_kept_is_sent_again_and_the_form_asks_for_the_password() -> None:
    browser = browser_with_an_old_token()
    late = TYPED | {"csrfmiddlewaretoken": "b" * 32}
    page = browser.post(SIGN_UP, late, headers=HERE).content.decode()
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))

    answer = browser.post(SIGN_UP, kept, headers=HERE)

    form = answer.content.decode()
    assert answer.status_code == 200
    assert "Choose a password." in form
    assert 'value="mei@example.com"' in form
    assert not User.objects.exists()


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}])
def test_what_another_site_sent_is_not_offered_to_be_sent_again(headers: dict[str, str]) -> None:
    browser = browser_with_an_old_token()

    answer = browser.post("/accounts/email/", {"email": "evil@example.com"}, headers=headers)

    assert answer.status_code == 403
    assert "evil@example.com" not in answer.content.decode()
    assert "Go back, reload the page" in answer.content.decode()


def test_what_is_kept_is_text_whatever_is_in_it() -> None:
    browser = browser_with_an_old_token()

    answer = browser.post(SIGN_UP, TYPED | {"email": '"><script>x</script>'}, headers=HERE)

    assert "<script>x" not in answer.content.decode()


@pytest.mark.parametrize("path", ["/accounts/close/", "/accounts/email/", "/accounts/2fa/"])
def test_who_was_logged_out_meanwhile_logs_in_and_is_where_they_were(
    client: Client, register: Register, path: str
) -> None:
    register(email="mei@example.com")
    answer: Any = client.post(path, {"password": PASSWORD, "email": "new@example.com"})

    login: Any = client.post(answer["Location"], {"login": "mei@example.com", "password": PASSWORD})

    assert login["Location"] == path
    assert User.objects.get().is_active
