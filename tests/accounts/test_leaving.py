"""People close their accounts by page or API, after a look at what is kept of them."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import export, services
from accounts.closing import CloseReason, close_account
from accounts.models import User
from accounts.queries import export_account
from accounts.standing import flag_account
from tests.accounts.conftest import PASSWORD, Register
from tests.accounts.test_standing import published, status_of

pytestmark = pytest.mark.django_db

CLOSE = "/api/v1/me/close/"
PAGE = "/accounts/close/"


@pytest.fixture(autouse=True)
def _fresh_limits() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def mei(register: Register) -> User:
    """Return somebody who wants to leave."""
    return register(email="mei@example.com").user


@pytest.fixture
def browser(mei: User, client: Client) -> Client:
    """Return a browser in which she is logged in."""
    client.force_login(mei)
    return client


@pytest.fixture
def api(mei: User) -> APIClient:
    """Return a client that sends her token."""
    token, _ = services.issue_token(user=mei)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def test_the_api_closes_with_the_password(api: APIClient, mei: User) -> None:
    answer = api.post(CLOSE, {"password": PASSWORD})

    assert (answer.status_code, answer.json()) == (202, {"detail": "Your account is closed."})
    assert answer["Cache-Control"] == "no-store"
    assert status_of(mei) == "closed"
    assert published("account_closed")[0][1]["reason"] == "requested"
    assert api.get("/api/v1/me/").status_code == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"password": "wrong"}, "wrong_password"),
        ({"password": ""}, "blank"),
        ({}, "required"),
        ({"password": None}, "null"),
        ({"password": ["x"]}, "invalid"),
    ],
)
def test_the_api_refuses_any_other_password(
    api: APIClient, mei: User, body: dict[str, Any], code: str
) -> None:
    answer = api.post(CLOSE, body)

    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/password", code)
    assert status_of(mei) == "active"


def test_guessing_is_limited_as_at_the_login(api: APIClient, mei: User, settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,2/5m/key"}

    answers = [api.post(CLOSE, {"password": typed}) for typed in ("a", "b", PASSWORD)]

    assert [answer.status_code for answer in answers] == [400, 400, 429]
    assert int(answers[2]["Retry-After"]) > 60
    assert status_of(mei) == "active"


def test_nobody_else_closes_anything(api_client: APIClient, mei: User) -> None:
    assert api_client.post(CLOSE, {"password": PASSWORD}).status_code == 401
    assert Client().post(PAGE, {"password": PASSWORD}).status_code == 302
    assert status_of(mei) == "active"


def test_the_page_says_what_is_lost_and_offers_the_data_first(browser: Client) -> None:
    page = browser.get(PAGE).content.decode()

    assert "are lost" in page
    assert page.index("/accounts/export/") < page.index('name="password"')
    assert PAGE in browser.get("/accounts/").content.decode()


def test_the_page_closes_and_logs_out(browser: Client, mei: User) -> None:
    answer = browser.post(PAGE, {"password": PASSWORD}, follow=True)

    assert answer.redirect_chain == [("/", 302)]
    assert "Your account is closed." in answer.content.decode()
    assert status_of(mei) == "closed"
    assert "_auth_user_id" not in browser.session


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("wrong", "This is not your password."),
        ("", "Enter your password."),
        ("x" * 200, "at most 128"),
    ],
)
def test_the_page_refuses_any_other_password(
    browser: Client, mei: User, typed: str, sentence: str
) -> None:
    answer = browser.post(PAGE, {"password": typed})

    page = answer.content.decode()
    assert answer.status_code == 200
    assert sentence in page
    assert "autofocus" in page
    assert "wrong" not in page.replace("wrong_password", "")
    assert status_of(mei) == "active"


def test_the_page_counts_with_the_login(browser: Client, mei: User, settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login": "2/m/ip"}

    answers = [browser.post(PAGE, {"password": "wrong"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert status_of(mei) == "active"


def test_what_is_kept_can_be_taken_along(
    browser: Client, api: APIClient, mei: User, register: Register
) -> None:
    friend = register(email="friend@example.com", referral_code=mei.referral_code).user
    flag_account(user_id=mei.pk, reason="by_staff", note="for staff only")

    file = browser.get("/accounts/export/")
    document = json.loads(file.content)

    assert file["Content-Disposition"] == 'attachment; filename="usher-account.json"'
    assert "no-store" in file["Cache-Control"]
    account = document["account"]
    assert account["email"] == "mei@example.com"
    assert account["email_addresses"][0]["email"] == "mei@example.com"
    assert account["people_invited"]["total"] == 1
    assert account["people_invited"]["latest"][0]["invitee"] == "f•••@e•••.com"
    assert account["status_changes"][0]["reason"] == "by_staff"
    assert "for staff only" not in file.content.decode()
    assert "friend@" not in file.content.decode()
    assert json.loads(json.dumps(export_account(friend.pk)))["account"]["invited_by"][
        "inviter"
    ] == ("m•••@e•••.com")
    assert api.get("/api/v1/me/export/").json() == document


def test_of_many_people_invited_the_latest_are_told_and_how_many_there_are(
    mei: User, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_INVITED", 2)
    for name in ("ann", "bob", "cid"):
        register(email=f"{name}@example.com", referral_code=mei.referral_code)

    invited = export_account(mei.pk)["account"]["people_invited"]

    assert invited["total"] == 3
    assert [row["invitee"][0] for row in invited["latest"]] == ["c", "b"]


def test_the_export_holds_no_secret(mei: User) -> None:
    token, _ = services.issue_token(user=mei)
    text = json.dumps(export_account(mei.pk))

    assert mei.password not in text
    assert token[:8] not in text
    assert "digest" not in text


def test_an_account_is_shown_to_who_may_view_accounts(
    api: APIClient, mei: User, register: Register
) -> None:
    other = register(email="other@example.com").user
    url = f"/api/v1/users/{other.pk}/"
    assert api.get(url).status_code == 404

    mei.user_permissions.add(Permission.objects.get(codename="view_user"))
    answer = api.get(url)

    assert answer.json() == {
        "id": str(other.pk),
        "email": "other@example.com",
        "status": "active",
        "registered_at": answer.json()["registered_at"],
    }
    for missing in (uuid4(), "1", "x"):
        assert api.get(f"/api/v1/users/{missing}/").status_code == 404
    close_account(user_id=other.pk, reason=CloseReason.REQUESTED)
    assert api.get(url).json()["status"] == "closed"


def test_accounts_are_shown_to_nobody_anonymous(api_client: APIClient, mei: User) -> None:
    assert api_client.get(f"/api/v1/users/{mei.pk}/").status_code == 401
