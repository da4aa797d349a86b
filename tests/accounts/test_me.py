"""`GET /api/v1/me/`: the account of whoever asks."""

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from tests.accounts.conftest import PASSWORD, flag

pytestmark = pytest.mark.django_db

ME = "/api/v1/me/"


def test_my_account_and_my_invite_link(
    api_client: APIClient, inviter: User, settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://usher.example"
    api_client.force_authenticate(inviter)

    answer = api_client.get(ME)

    assert inviter.registered_at is not None
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(inviter.pk),
        "email": "inviter@example.com",
        "status": "active",
        "registered_at": inviter.registered_at.isoformat().replace("+00:00", "Z"),
        "referral_code": inviter.referral_code,
        "referral_url": f"https://usher.example/i/{inviter.referral_code}/",
    }


def test_a_session_will_do(client: Client, inviter: User) -> None:
    client.force_login(inviter)

    assert client.get(ME).json()["id"] == str(inviter.pk)


def test_a_flagged_account_sees_its_status(client: Client, inviter: User) -> None:
    flag(inviter)
    client.force_login(inviter)

    assert client.get(ME).json()["status"] == "flagged"


def test_staff_who_never_registered_have_no_registration_time(client: Client) -> None:
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))

    assert client.get(ME).json()["registered_at"] is None


def test_nobody_is_nobody(api_client: APIClient) -> None:
    answer = api_client.get(ME)

    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"
    assert answer["WWW-Authenticate"].startswith("Token")
