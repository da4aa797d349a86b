"""Tokens: what one gets them for, what they open, and when they end."""

import hashlib
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from knox.models import AuthToken
from rest_framework.test import APIClient

from accounts import services
from accounts.closing import CloseReason, close_account
from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register, close, registered_events
from tests.parallel import run_at_once

pytestmark = pytest.mark.django_db

TOKENS = "/api/v1/tokens/"
CURRENT = "/api/v1/tokens/current/"
ME = "/api/v1/me/"


@pytest.fixture
def mei(register: Register) -> User:
    """Return somebody with a password."""
    return register(email="mei@example.com").user


def log_in(client: APIClient, **given: object) -> Any:
    """Ask for a token."""
    return client.post(TOKENS, {"email": "mei@example.com", "password": PASSWORD} | given)


def with_token(token: str) -> APIClient:
    """Return a client that sends a token along."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def test_credentials_get_a_token_that_opens_the_account(api_client: APIClient, mei: User) -> None:
    answer = log_in(api_client, email=" MEI@example.com ")

    assert answer.status_code == 201
    assert set(answer.json()) == {"token", "expires_at"}
    expires_at = parse_datetime(answer.json()["expires_at"])
    assert expires_at
    assert expires_at > timezone.now() + timedelta(days=29)
    assert with_token(answer.json()["token"]).get(ME).json()["id"] == str(mei.pk)
    assert not answer.cookies


@pytest.mark.django_db(transaction=True)
def test_an_account_that_is_closed_while_it_logs_in_gets_no_token(
    api_client: APIClient, mei: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue_token = services.issue_token

    def close_first(*, user: User, passed_second_factor: bool) -> Any:
        close_account(user_id=mei.pk, reason=CloseReason.REQUESTED)
        return issue_token(user=user, passed_second_factor=passed_second_factor)

    monkeypatch.setattr(services, "issue_token", close_first)
    answer = log_in(api_client)

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
    assert not AuthToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_logins_and_the_end_of_an_account_at_once_no_token_is_left(mei: User) -> None:
    def log_in_late() -> None:
        with suppress(services.MayNotLogIn):
            services.issue_token(user=mei)

    run_at_once([log_in_late] * 8 + [partial(end, mei)] + [log_in_late] * 8)

    assert not AuthToken.objects.exists()


def end(user: User) -> None:
    """Close an account, as its owner asked."""
    close_account(user_id=user.pk, reason=CloseReason.REQUESTED)


def test_nobody_on_the_way_keeps_a_token_or_an_account(api_client: APIClient, mei: User) -> None:
    issued = log_in(api_client)
    shown = with_token(issued.json()["token"]).get(ME)

    assert issued["Cache-Control"] == "no-store"
    assert shown["Cache-Control"] == "no-store"


def test_only_a_hash_of_the_token_is_stored(api_client: APIClient, mei: User) -> None:
    token = log_in(api_client).json()["token"]

    stored = AuthToken.objects.get()
    assert stored.digest == hashlib.sha512(token.encode()).hexdigest()
    assert token not in f"{stored.digest}{stored.token_key}"


@pytest.mark.parametrize(
    "given",
    [
        {"password": "another long one"},
        {"password": PASSWORD + " "},
        {"password": PASSWORD.upper()},
        {"password": "x" * 60_000},
        {"email": "nobody@example.com"},
        {"email": "nonsense"},
        {"email": "mei@example.com\n"[::-1]},
    ],
)
def test_wrong_credentials_get_one_answer(
    api_client: APIClient, mei: User, given: dict[str, str]
) -> None:
    answer = log_in(api_client, **given)

    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith("Token")
    assert answer.json()["code"] == "invalid_credentials"
    assert answer.json()["detail"] == "The e-mail address or the password is not right."
    assert not AuthToken.objects.exists()


@pytest.mark.parametrize("gone", ["closed", "locked out"])
def test_an_account_out_of_use_gets_the_same_answer(
    api_client: APIClient, mei: User, gone: str
) -> None:
    if gone == "closed":
        close(mei)
    else:
        User.objects.update(is_active=False)

    answer = log_in(api_client)

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
    assert not AuthToken.objects.exists()


def test_unknown_addresses_cost_as_many_hashes_as_known_ones(
    api_client: APIClient, mei: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.contrib.auth.hashers import MD5PasswordHasher

    computed: list[str] = []
    encode = MD5PasswordHasher.encode

    def count(self: MD5PasswordHasher, password: str, salt: str) -> str:
        computed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", count)
    costs = []
    for email in ("mei@example.com", "nobody@example.com", "nonsense"):
        computed.clear()
        log_in(api_client, email=email, password="a wrong password")
        costs.append(len(computed))

    assert costs[0] >= 1
    assert len(set(costs)) == 1


def test_an_unconfirmed_address_gets_no_token_but_a_new_link(
    api_client: APIClient, mei: User, mandatory: None
) -> None:
    answer = log_in(api_client)

    assert answer.status_code == 403
    assert answer.json()["code"] == "email_unverified"
    assert [sent.to for sent in mail.outbox] == [["mei@example.com"]]
    assert not AuthToken.objects.exists()


def test_a_wrong_password_does_not_tell_that_an_address_is_unconfirmed(
    api_client: APIClient, mei: User, mandatory: None
) -> None:
    assert log_in(api_client, password="another one").json()["code"] == "invalid_credentials"
    assert mail.outbox == []


def test_a_confirmed_address_gets_a_token(
    api_client: APIClient, mei: User, mandatory: None
) -> None:
    EmailAddress.objects.update(verified=True)

    assert log_in(api_client).status_code == 201


def test_a_sign_up_that_waited_is_complete_once_confirming_is_optional(
    api_client: APIClient, mei: User
) -> None:
    User.objects.update(registered_at=None)

    assert log_in(api_client).status_code == 201

    assert User.objects.get().registered_at is not None
    assert len(registered_events()) == 2


def test_an_address_confirmed_by_other_means_than_the_link_completes_the_sign_up(
    api_client: APIClient, register: Register, mandatory: None
) -> None:
    register(email="mei@example.com")
    EmailAddress.objects.update(verified=True)

    for _ in range(2):
        assert log_in(api_client).status_code == 201

    assert User.objects.get().registered_at is not None
    assert len(registered_events()) == 1


def test_an_expired_token_sent_along_does_not_stop_a_new_one(
    api_client: APIClient, mei: User
) -> None:
    api_client.credentials(HTTP_AUTHORIZATION="Token expired")

    assert log_in(api_client).status_code == 201


def test_expired_tokens_are_cleared_away_with_the_next_one(
    api_client: APIClient, mei: User
) -> None:
    log_in(api_client)
    AuthToken.objects.update(expiry=timezone.now())

    log_in(api_client)

    assert AuthToken.objects.get().expiry > timezone.now()


def test_giving_up_a_token_ends_that_one_only(api_client: APIClient, mei: User) -> None:
    first, second = (log_in(api_client).json()["token"] for _ in range(2))

    answer = with_token(first).delete(CURRENT)

    assert (answer.status_code, answer.content) == (204, b"")
    assert with_token(first).get(ME).status_code == 401
    assert with_token(second).get(ME).status_code == 200


def test_only_a_token_can_be_given_up(api_client: APIClient, client: Client, mei: User) -> None:
    client.force_login(mei)

    assert api_client.delete(CURRENT).status_code == 401
    assert client.delete(CURRENT).status_code == 401


@pytest.mark.parametrize("end", ["expired", "closed", "locked out"])
def test_a_token_ends_with_its_time_or_its_account(
    api_client: APIClient, mei: User, end: str
) -> None:
    client = with_token(log_in(api_client).json()["token"])
    if end == "expired":
        AuthToken.objects.update(expiry=timezone.now())
    elif end == "closed":
        close(mei)
    else:
        User.objects.update(is_active=False)

    answer = client.get(ME)

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


@pytest.mark.parametrize(
    "header",
    [
        "Token",
        "Token ",
        "Token two words",
        "Token nonsense",
        "Token \xff\xfe",
        "Token a\x00b",
        "Token " + "a" * 5000,
        "Token 💥".encode().decode("latin-1"),
    ],
)
def test_odd_tokens_are_refused(api_client: APIClient, header: str) -> None:
    api_client.credentials(HTTP_AUTHORIZATION=header)

    answer = api_client.get(ME)

    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"


def test_a_token_costs_one_query_that_only_reads(api_client: APIClient, mei: User) -> None:
    for _ in range(3):
        token = log_in(api_client).json()["token"]

    with CaptureQueriesContext(connection) as queries:
        with_token(token).get(ME)

    assert [query["sql"].split()[0] for query in queries] == ["SELECT"]
