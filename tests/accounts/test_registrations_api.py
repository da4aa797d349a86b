"""`POST /api/v1/registrations/` as the contract has it."""

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.utils.dateparse import parse_datetime
from rest_framework.test import APIClient

from accounts.models import Referral, User
from tests.accounts.conftest import PASSWORD, Register, close, registered_events, stored

pytestmark = pytest.mark.django_db

URL = "/api/v1/registrations/"


def typed(**given: object) -> dict[str, object]:
    """Return a complete request."""
    return {"email": "mei@example.com", "password": PASSWORD} | given


@pytest.mark.django_db(transaction=True)  # mails are sent after the commit
def test_a_registration_is_answered_with_the_account(api_client: APIClient) -> None:
    answer = api_client.post(URL, typed(email="Mei@Example.com"))

    user = User.objects.get()
    assert answer.status_code == 201
    assert user.registered_at is not None
    assert answer.json() == {
        "id": str(user.pk),
        "email": "mei@example.com",
        "registered_at": user.registered_at.isoformat().replace("+00:00", "Z"),
        "referral": {"applied": False, "reason": "none_given"},
    }
    assert parse_datetime(answer.json()["registered_at"])
    assert registered_events() == [{"user_id": str(user.pk), "inviter_id": None}]
    assert EmailAddress.objects.get().user == user
    assert [sent.to for sent in mail.outbox] == [["mei@example.com"]]
    assert not answer.cookies


def test_an_inviter_is_credited(api_client: APIClient, inviter: User) -> None:
    answer = api_client.post(URL, typed(referral_code=inviter.referral_code))

    assert answer.status_code == 201
    assert answer.json()["referral"] == {"applied": True, "reason": None}
    assert Referral.objects.get().inviter == inviter


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "none_given"),
        ("", "none_given"),
        ("   ", "none_given"),
        ("23456789", "unknown_code"),
        ("x" * 10_000, "unknown_code"),
        ("💥", "unknown_code"),
    ],
)
def test_a_bad_code_still_registers(api_client: APIClient, code: object, reason: str) -> None:
    answer = api_client.post(URL, typed(referral_code=code))

    assert answer.status_code == 201
    assert answer.json()["referral"] == {"applied": False, "reason": reason}


def test_a_closed_inviter_s_code_still_registers(api_client: APIClient, inviter: User) -> None:
    close(inviter)

    answer = api_client.post(URL, typed(referral_code=inviter.referral_code))

    assert answer.json()["referral"] == {"applied": False, "reason": "inviter_inactive"}


def test_an_own_code_still_registers(api_client: APIClient, register: Register) -> None:
    inviter = register(email="mei@gmail.com").user

    answer = api_client.post(
        URL, typed(email="m.ei@gmail.com", referral_code=inviter.referral_code)
    )

    assert answer.json()["referral"] == {"applied": False, "reason": "self_referral"}


def test_the_code_of_the_logged_in_caller_still_registers(
    api_client: APIClient, inviter: User
) -> None:
    api_client.force_authenticate(inviter)

    answer = api_client.post(URL, typed(referral_code=inviter.referral_code))

    assert answer.json()["referral"] == {"applied": False, "reason": "self_referral"}


@pytest.mark.parametrize("again", ["mei@example.com", "MEI@EXAMPLE.COM"])
def test_a_known_address_is_a_conflict(
    api_client: APIClient, register: Register, again: str
) -> None:
    register(email="mei@example.com")
    before = stored()

    answer = api_client.post(URL, typed(email=again))

    assert answer.status_code == 409
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "email_taken"
    assert stored() == before


def test_fields_nobody_asked_for_are_refused(api_client: APIClient, inviter: User) -> None:
    more = {
        "is_staff": True,
        "is_superuser": True,
        "status": "closed",
        "inviter_id": str(inviter.pk),
        "points": 1_000,
        "id": "00000000-0000-7000-8000-000000000000",
    }
    before = stored()

    answer = api_client.post(URL, typed(**more))

    assert answer.status_code == 400
    errors = {error["pointer"]: error["code"] for error in answer.json()["errors"]}
    assert errors == {f"/{name}": "unknown_field" for name in more}
    assert stored() == before


def test_the_language_asked_for_is_kept(api_client: APIClient) -> None:
    api_client.post(URL, typed(), headers={"accept-language": "zh-CN"})

    assert User.objects.get().language == "zh-hans"


def test_only_post_is_allowed(api_client: APIClient) -> None:
    assert api_client.get(URL).status_code == 405
