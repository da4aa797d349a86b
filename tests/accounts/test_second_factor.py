"""The second factor over the API: codes count once, wrong ones are limited, secrets are sealed."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client, RequestFactory
from knox.models import AuthToken
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import second_factor, services
from accounts.closing import CloseReason, close_account
from accounts.models import User
from accounts.queries import export_account
from sealing import Unreadable
from tests.accounts.conftest import PASSWORD, Register
from tests.accounts.factors import (
    code_of,
    recovery_codes,
    set_up_app,
    set_up_passkey,
    wrong_code,
)
from tests.parallel import run_at_once

pytestmark = pytest.mark.django_db

TOKENS = "/api/v1/tokens/"
ME = "/api/v1/me/"
WRONG_CODES = 5  # of one account within five minutes; then it is asked to wait


@pytest.fixture(autouse=True)
def _fresh_limits() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def mei(register: Register) -> User:
    """Return somebody with a password."""
    return register(email="mei@example.com").user


@pytest.fixture
def secret(mei: User) -> str:
    """Give her an authenticator app; return its secret."""
    return set_up_app(mei)


def log_in(**given: object) -> tuple[int, str]:
    """Ask for a token. Return the status and the code of a refusal."""
    credentials = {"email": "mei@example.com", "password": PASSWORD}
    answer: Any = APIClient().post(TOKENS, credentials | given)
    return answer.status_code, answer.json().get("code", "")


@pytest.fixture
def limited(settings: Settings) -> None:
    """Limit attempts as outside of tests."""
    settings.ACCOUNT_RATE_LIMITS = {}


@pytest.mark.parametrize("without", [{}, {"code": None}, {"code": ""}, {"code": "  "}])
def test_a_password_alone_gets_no_token(secret: str, without: dict[str, object]) -> None:
    assert log_in(**without) == (401, "mfa_required")
    assert not AuthToken.objects.exists()


def test_a_code_of_the_app_gets_a_token_once(secret: str) -> None:
    code = code_of(secret)

    assert log_in(code=f" {code[:3]} {code[3:]} ") == (201, "")
    assert log_in(code=code) == (401, "mfa_invalid")
    assert AuthToken.objects.count() == 1


def test_a_clock_may_be_a_step_ahead_or_behind(secret: str) -> None:
    assert log_in(code=code_of(secret, steps=-1)) == (201, "")
    assert log_in(code=code_of(secret, steps=1)) == (201, "")


def test_an_earlier_code_does_not_count_after_a_later_one(secret: str) -> None:
    assert log_in(code=code_of(secret, steps=1)) == (201, "")

    assert log_in(code=code_of(secret)) == (401, "mfa_invalid")


def test_each_recovery_code_gets_a_token_once(mei: User, secret: str) -> None:
    first, second, *_ = recovery_codes(mei)

    assert log_in(code=first) == (201, "")
    assert log_in(code=first) == (401, "mfa_invalid")
    assert log_in(code=second) == (201, "")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["app", "recovery"])
def test_of_many_logins_at_once_with_one_code_one_gets_a_token(
    mei: User, secret: str, settings: Settings, kind: str
) -> None:
    settings.ACCOUNT_RATE_LIMITS = False
    code = code_of(secret) if kind == "app" else recovery_codes(mei)[0]

    run_at_once([partial(log_in, code=code)] * 8)

    assert AuthToken.objects.count() == 1


@pytest.mark.parametrize("code", ["💥", "١٢٣٤٥٦", "x" * 5000, "-1", "0"])
def test_odd_codes_are_refused_like_wrong_ones(secret: str, code: str) -> None:
    assert log_in(code=code) == (401, "mfa_invalid")


def test_a_wrong_password_tells_nothing_and_uses_no_code_up(secret: str) -> None:
    code = code_of(secret)

    assert log_in(password="another one", code=code) == (401, "invalid_credentials")
    assert log_in(code=code) == (201, "")


def test_without_a_second_factor_the_code_is_not_looked_at(mei: User) -> None:
    assert log_in(code="nonsense") == (201, "")


def test_after_too_many_wrong_codes_the_right_one_has_to_wait(secret: str, limited: None) -> None:
    for _ in range(WRONG_CODES):
        assert log_in(code=wrong_code(secret)) == (401, "mfa_invalid")

    answer: Any = APIClient().post(
        TOKENS, {"email": "mei@example.com", "password": PASSWORD, "code": code_of(secret)}
    )

    assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
    assert 0 < int(answer["Retry-After"]) <= 300
    assert not AuthToken.objects.exists()


def test_right_codes_do_not_count_against_the_limit(mei: User, secret: str, limited: None) -> None:
    answers = [log_in(code=code)[0] for code in recovery_codes(mei)[: WRONG_CODES + 2]]

    assert set(answers) == {201}


def test_an_account_with_passkeys_alone_has_sessions_alone(mei: User) -> None:
    set_up_passkey(mei)

    assert log_in() == (403, "mfa_sessions_only")
    assert log_in(code=recovery_codes(mei)[0]) == (403, "mfa_sessions_only")


def test_setting_a_second_factor_up_ends_the_tokens_that_were_had_without(mei: User) -> None:
    token = services.issue_token(user=mei)[0]

    set_up_app(mei)

    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    assert client.get(ME).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_of_logins_and_setting_up_at_once_no_token_without_the_factor_is_left(mei: User) -> None:
    def log_in_late() -> None:
        with suppress(services.SecondFactorMissing):
            services.issue_token(user=mei)

    run_at_once([log_in_late] * 6 + [partial(set_up_app, mei)] + [log_in_late] * 6)

    assert not AuthToken.objects.exists()


def test_the_code_that_set_the_app_up_is_used_up(mei: User) -> None:
    secret = set_up_app(mei)
    Authenticator.objects.all().delete()

    TOTP.activate(mei, secret)

    assert log_in(code=code_of(secret)) == (401, "mfa_invalid")


# --- At rest ------------------------------------------------------------------------------------


def test_secrets_and_recovery_codes_are_stored_sealed(mei: User, secret: str) -> None:
    codes = recovery_codes(mei)

    stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))

    assert secret not in stored
    assert not any(code in stored for code in codes)


def test_a_former_key_still_opens_them_until_they_are_used(
    mei: User, secret: str, settings: Settings
) -> None:
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another key, long enough for a test"
    settings.SECRET_KEY_FALLBACKS = [former]
    request = _request()
    second_factor.use_code(request, user=mei, code=code_of(secret))

    settings.SECRET_KEY_FALLBACKS = []

    second_factor.use_code(request, user=mei, code=code_of(secret, steps=1))


def test_without_the_key_it_is_said_what_to_do(mei: User, secret: str, settings: Settings) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another key, long enough", []

    with pytest.raises(Unreadable, match="SECRET_KEY_FALLBACKS"):
        second_factor.use_code(_request(), user=mei, code=code_of(secret))


def _request() -> Any:
    return RequestFactory().post("/")


def test_closing_an_account_forgets_its_factors(mei: User, secret: str) -> None:
    close_account(user_id=mei.pk, reason=CloseReason.REQUESTED)

    assert not Authenticator.objects.exists()


def test_the_export_names_factors_and_no_secret(mei: User, secret: str) -> None:
    recovery_codes(mei)

    exported = export_account(mei.pk)["account"]["second_factors"]

    assert [row["type"] for row in exported] == ["totp", "recovery_codes"]
    assert {name for row in exported for name in row} == {"type", "created_at", "last_used_at"}


# --- Staff --------------------------------------------------------------------------------------


@pytest.fixture
def staff(settings: Settings) -> User:
    """Return a member of staff, of whom a second factor is required."""
    settings.STAFF_MFA = "required"
    return User.objects.create_superuser("mei@example.com", PASSWORD)


def test_staff_without_a_factor_get_no_token(staff: User) -> None:
    assert log_in() == (403, "mfa_setup_required")


def test_staff_with_a_factor_get_one(staff: User) -> None:
    secret = set_up_app(staff)

    assert log_in(code=code_of(secret)) == (201, "")


def test_a_token_from_before_it_was_required_opens_nothing(staff: User) -> None:
    token = services.issue_token(user=staff)[0]
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")

    answer: Any = client.get(ME)

    assert (answer.status_code, answer.json()["code"]) == (401, "mfa_required")


def test_a_session_that_owes_the_factor_opens_no_call(staff: User, client: Client) -> None:
    client.force_login(staff)

    answer = client.get(ME)

    assert (answer.status_code, answer.json()["code"]) == (401, "mfa_required")


@pytest.mark.parametrize("is_staff", [True, False])
def test_where_it_is_optional_or_for_others_nothing_is_asked(
    mei: User, client: Client, settings: Settings, is_staff: bool
) -> None:
    settings.STAFF_MFA = "optional" if is_staff else "required"
    User.objects.update(is_staff=is_staff)
    client.force_login(User.objects.get())

    assert client.get(ME).status_code == 200
    assert log_in() == (201, "")


def test_no_session_holds_anything_of_a_login_over_the_api(mei: User, secret: str) -> None:
    log_in(code=code_of(secret))

    assert not Session.objects.exists()
