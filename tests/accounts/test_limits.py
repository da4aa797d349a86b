"""Rate limits: pages and API share their buckets; whoever is refused learns how long to wait."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register

pytestmark = pytest.mark.django_db

SIGN_UP = "/accounts/signup/"
LOG_IN = "/accounts/login/"
REGISTRATIONS = "/api/v1/registrations/"
TOKENS = "/api/v1/tokens/"


@pytest.fixture(autouse=True)
def limits(settings: Settings) -> Iterator[dict[str, str]]:
    """Limit everything to a few requests a minute, counted from zero."""
    rates = {
        "signup": "2/m/ip",
        "login": "3/m/ip",
        "login_failed": "100/m/ip,2/5m/key",
        "confirm_email": "1/3m/key",
    }
    settings.ACCOUNT_RATE_LIMITS = rates
    cache.clear()
    yield rates
    cache.clear()


def register_by_api(client: APIClient, number: int, **headers: str) -> Any:
    """Register somebody new."""
    body = {"email": f"person{number}@example.com", "password": PASSWORD}
    return client.post(REGISTRATIONS, body, headers=headers)


def log_in_by_api(
    client: APIClient,
    typed: str = "wrong",
    email: str = "mei@example.com",
    headers: dict[str, str] | None = None,
) -> Any:
    """Ask for a token."""
    return client.post(TOKENS, {"email": email, "password": typed}, headers=headers)


def test_too_many_registrations_are_told_how_long_to_wait(api_client: APIClient) -> None:
    answers = [register_by_api(api_client, number) for number in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert answers[2]["Content-Type"] == "application/problem+json"
    assert answers[2].json()["code"] == "throttled"
    assert 1 <= int(answers[2]["Retry-After"]) <= 60
    assert User.objects.count() == 2


def test_the_page_counts_with_the_api(client: Client, api_client: APIClient) -> None:
    register_by_api(api_client, 1)
    client.post(SIGN_UP, {"email": "nobody"})

    assert register_by_api(api_client, 2).status_code == 429
    assert client.get(SIGN_UP).status_code == 200
    page = client.post(SIGN_UP, {"email": "mei@example.com", "password1": PASSWORD})
    assert page.status_code == 429
    assert 1 <= int(page["Retry-After"]) <= 60
    assert "Try again in" in page.content.decode()
    assert User.objects.count() == 1


def test_logins_on_the_page_count_with_tokens(client: Client, api_client: APIClient) -> None:
    for number in range(3):
        client.post(LOG_IN, {"login": f"nobody{number}@example.com", "password": "wrong"})

    answer = log_in_by_api(api_client)

    assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
    assert 1 <= int(answer["Retry-After"]) <= 60


def test_guessing_one_account_s_password_is_slowed_from_everywhere(
    api_client: APIClient, register: Register, limits: dict[str, str]
) -> None:
    register(email="mei@example.com")
    limits["login"] = "100/m/ip"
    answers = [
        api_client.post(
            TOKENS,
            {"email": spelled, "password": "wrong"},
            REMOTE_ADDR=f"192.0.2.{number}",
        )
        for number, spelled in enumerate(["mei@example.com", "MEI@example.com", " mei@example.com"])
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert 60 < int(answers[2]["Retry-After"]) <= 300
    assert log_in_by_api(api_client, email="other@example.com").status_code == 401


@pytest.mark.parametrize("where", ["page", "API"])
def test_another_port_in_the_host_gives_no_further_guesses(
    api_client: APIClient,
    client: Client,
    register: Register,
    limits: dict[str, str],
    settings: Settings,
    where: str,
) -> None:
    register(email="mei@example.com")
    limits["login"] = "100/m/ip"
    settings.ALLOWED_HOSTS = ["testserver", "other.example"]

    for host in ("testserver:1", "other.example:2"):
        log_in_by_api(api_client, headers={"host": host})
    if where == "API":
        refused = log_in_by_api(api_client, PASSWORD, headers={"host": "testserver:3"})
        assert refused.status_code == 429
    else:
        typed = {"login": "mei@example.com", "password": PASSWORD}
        page = client.post(LOG_IN, typed, headers={"host": "testserver:3"})
        assert "Too many failed attempts" in page.content.decode()


def test_right_passwords_are_not_counted_as_failures(
    api_client: APIClient, register: Register, limits: dict[str, str]
) -> None:
    register(email="mei@example.com")
    limits["login"] = "100/m/ip"

    answers = [log_in_by_api(api_client, PASSWORD) for _ in range(5)]

    assert {answer.status_code for answer in answers} == {201}


def test_other_addresses_are_not_affected(api_client: APIClient) -> None:
    for number in range(3):
        register_by_api(api_client, number)

    body = {"email": "mei@example.com", "password": PASSWORD}
    answer = api_client.post(REGISTRATIONS, body, REMOTE_ADDR="192.0.2.9")

    assert answer.status_code == 201


def test_a_made_up_forwarded_address_changes_nothing(api_client: APIClient) -> None:
    answers = [
        register_by_api(api_client, number, **{"x-forwarded-for": f"192.0.2.{number}"})
        for number in range(3)
    ]

    assert answers[-1].status_code == 429


@pytest.mark.django_db(transaction=True)  # mails are sent after the commit
def test_confirmation_mails_to_one_address_are_spaced(
    api_client: APIClient, mandatory: None, mailoutbox: list[object]
) -> None:
    for _ in range(2):
        answer = register_by_api(api_client, 1)

    assert answer.status_code == 202
    assert len(mailoutbox) == 1


def test_password_resets_for_one_address_are_limited_from_everywhere(
    client: Client, limits: dict[str, str], mailoutbox: list[object]
) -> None:
    limits["reset_password"] = "100/m/ip,1/4m/key"

    for number in range(2):
        page = client.post(
            "/accounts/password/reset/",
            {"email": "mei@example.com"},
            REMOTE_ADDR=f"192.0.2.{number}",
        )

    assert page.status_code == 429
    assert 60 < int(page["Retry-After"]) <= 240
    assert len(mailoutbox) == 1


def test_limits_can_be_off(api_client: APIClient, settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = False

    assert [register_by_api(api_client, n).status_code for n in range(4)] == [201] * 4
