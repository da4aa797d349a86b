"""Signing up on the page: from the form to the wallet, or back with words that help."""

import re
import smtplib
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.messages import get_messages
from django.core import mail
from django.test import Client
from pytest_django import Settings

from accounts.adapter import AccountAdapter
from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register, close, registered_events, stored

pytestmark = pytest.mark.django_db

SIGN_UP = "/accounts/signup/"


def sign_up(client: Client, **given: str) -> Any:
    """Send a filled-in form."""
    typed = {"email": "mei@example.com", "password1": PASSWORD, "referral_code": ""}
    return client.post(SIGN_UP, typed | given)


def flashes(answer: Any) -> list[str]:
    """Return the sentences the next page shows."""
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_the_form_asks_for_three_things_accessibly(client: Client) -> None:
    page = client.get(SIGN_UP).content.decode()

    assert page.count("<h1") == 1
    for name, autocomplete in [
        ("email", "email"),
        ("password1", "new-password"),
        ("referral_code", "off"),
    ]:
        field = re.search(rf'<input[^>]*name="{name}"[^>]*>', page)
        assert field
        assert f'autocomplete="{autocomplete}"' in field[0]
        assert f'<label for="id_{name}">' in page
    assert page.count('type="password"') == 1
    assert "maxlength" not in re.search(r'<input[^>]*name="password1"[^>]*>', page)[0]  # type: ignore[index]
    assert "at most 128 characters" in page


def test_a_sign_up_logs_in_and_lands_on_the_wallet(client: Client) -> None:
    answer = sign_up(client)

    assert (answer.status_code, answer["Location"]) == (302, "/wallet/")
    user = User.objects.get()
    assert client.session["_auth_user_id"] == str(user.pk)
    assert registered_events() == [{"user_id": str(user.pk), "inviter_id": None}]
    assert EmailAddress.objects.get().verified is False


def test_a_sign_up_goes_where_the_person_was_going(client: Client) -> None:
    answer = client.post(
        f"{SIGN_UP}?next=/i/x/", {"email": "mei@example.com", "password1": PASSWORD}
    )

    assert answer["Location"] == "/i/x/"


@pytest.mark.parametrize("target", ["//evil.example", "https:evil.example", "\\\\evil.example"])
def test_a_sign_up_never_leads_to_another_site(client: Client, target: str) -> None:
    answer = client.post(
        SIGN_UP, {"email": "mei@example.com", "password1": PASSWORD, "next": target}
    )

    assert answer["Location"] == "/wallet/"


def test_the_session_changes_at_sign_up(client: Client) -> None:
    client.get(SIGN_UP)
    session = client.session
    session["seen"] = True
    session.save()
    before = session.session_key

    sign_up(client)

    assert client.session.session_key != before


@pytest.mark.parametrize(
    ("accepted", "language"), [("en", "en"), ("zh-CN,zh;q=0.9", "zh-hans"), ("de", "en")]
)
def test_the_language_of_the_page_is_kept(client: Client, accepted: str, language: str) -> None:
    client.post(
        SIGN_UP,
        {"email": "mei@example.com", "password1": PASSWORD},
        headers={"accept-language": accepted},
    )

    assert User.objects.get().language == language


def test_a_mail_asks_to_confirm_the_address(client: Client, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://usher.example"

    answer = sign_up(client)

    [sent] = mail.outbox
    assert sent.to == ["mei@example.com"]
    assert "https://usher.example/accounts/confirm-email/" in sent.body
    assert "testserver" not in f"{sent.subject} {sent.body}"
    assert any("confirm your address" in text for text in flashes(answer))


def test_a_mail_server_that_is_down_does_not_undo_the_sign_up(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object) -> None:
        raise smtplib.SMTPRecipientsRefused({"mei@example.com": (451, b"later")})

    monkeypatch.setattr("allauth.account.adapter.DefaultAccountAdapter.send_mail", refuse)

    answer = sign_up(client)

    assert answer["Location"] == "/wallet/"
    assert len(registered_events()) == 1
    assert any("could not send" in text for text in flashes(answer))
    assert "SMTPRecipientsRefused" in caplog.text
    assert "mei@" not in caplog.text


@pytest.mark.parametrize(
    ("code", "sentence"),
    [("23456789", "not one we know"), ("closed", "can't be used any more"), ("", None)],
)
def test_a_referral_that_was_not_applied_is_explained(
    client: Client, inviter: User, code: str, sentence: str | None
) -> None:
    close(inviter)

    answer = sign_up(client, referral_code=inviter.referral_code if code == "closed" else code)

    assert answer["Location"] == "/wallet/"
    explained = [text for text in flashes(answer) if "credited" in text]
    assert len(explained) == bool(sentence)
    assert all(sentence in text for text in explained if sentence)


def test_an_own_code_under_another_spelling_is_explained(
    client: Client, register: Register
) -> None:
    inviter = register(email="mei@gmail.com").user

    answer = sign_up(client, email="m.ei@gmail.com", referral_code=inviter.referral_code)

    assert any("your own" in text for text in flashes(answer))


def test_an_applied_referral_needs_no_words(client: Client, inviter: User) -> None:
    answer = sign_up(client, referral_code=inviter.referral_code)

    assert not any("credited" in text for text in flashes(answer))


@pytest.mark.parametrize("again", ["mei@example.com", "MEI@Example.com "])
def test_a_known_address_is_told_and_everything_else_kept(
    client: Client, register: Register, again: str
) -> None:
    register(email="mei@example.com")
    before = stored()

    answer = sign_up(client, email=again, password1="somebody else's", referral_code="KEPT")

    page = answer.content.decode()
    assert answer.status_code == 200
    assert "already exists" in page
    assert 'value="KEPT"' in page
    assert PASSWORD not in page
    assert stored() == before
    assert "_auth_user_id" not in client.session


def test_the_first_refused_field_has_the_focus_and_its_error(client: Client) -> None:
    page = sign_up(client, password1="1234").content.decode()

    email = re.search(r'<input[^>]*name="email"[^>]*>', page)
    password = re.search(r'<input[^>]*name="password1"[^>]*>', page)
    assert email
    assert password
    assert "autofocus" not in email[0]
    assert "autofocus" in password[0]
    assert 'aria-invalid="true"' in password[0]
    assert "id_password1_error" in password[0]
    assert 'id="id_password1_error"' in page
    assert 'role="alert"' in page
    assert '<a href="#id_password1">' in page
    assert page.count("autofocus") == 1


def test_a_page_that_may_not_be_seen_in_a_frame_of_another_site_needs_its_token() -> None:
    client = Client(enforce_csrf_checks=True)

    answer = sign_up(client)

    assert answer.status_code == 403
    assert not User.objects.exists()


def test_whoever_is_logged_in_has_no_need_to_sign_up(client: Client, inviter: User) -> None:
    client.force_login(inviter)

    assert client.get(SIGN_UP)["Location"] == "/wallet/"


def test_nobody_becomes_staff_by_sending_more_fields(client: Client) -> None:
    sign_up(client, is_staff="on", is_superuser="on", status="flagged", registered_at="2020-01-01")

    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, user.status) == (False, False, "active")


def test_the_service_has_the_last_word_even_where_the_form_let_something_pass(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        AccountAdapter, "clean_password", lambda self, password, user=None: password
    )

    answer = sign_up(client, password1="1234")

    assert "too short" in answer.content.decode()
    assert not User.objects.exists()
