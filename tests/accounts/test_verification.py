"""Where addresses are confirmed first: nothing is complete before, told, or done twice."""

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.contrib.messages import get_messages
from django.core import mail
from django.template.loader import render_to_string
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import services
from accounts.models import Referral, ReferralStatus, User
from accounts.signals import UserRegistered, user_registered
from events.outbox import PublishedOutsideTransaction
from tests.accounts.conftest import (
    PASSWORD,
    Register,
    close,
    flag,
    registered_events,
    stored,
)

pytestmark = pytest.mark.django_db

SIGN_UP = "/accounts/signup/"
SENT = "/accounts/confirm-email/"


def link() -> str:
    """Return the path of the link in the last mail."""
    found = re.search(r"https?://[^/]+(/accounts/confirm-email/\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]


def sign_up(client: Client, **given: str) -> Any:
    """Send a filled-in form."""
    return client.post(SIGN_UP, {"email": "mei@example.com", "password1": PASSWORD} | given)


def test_a_sign_up_waits_for_its_address(client: Client, mandatory: None, inviter: User) -> None:
    before = len(registered_events())

    answer = sign_up(client, referral_code=inviter.referral_code)

    assert (answer.status_code, answer["Location"]) == (302, SENT)
    user = User.objects.get(email="mei@example.com")
    assert user.registered_at is None
    assert Referral.objects.get().status == ReferralStatus.PENDING
    assert "_auth_user_id" not in client.session
    assert len(registered_events()) == before
    assert len(mail.outbox) == 1


def test_looking_at_the_link_changes_nothing(client: Client, mandatory: None) -> None:
    sign_up(client)

    page = client.get(link())

    assert "mei@example.com" in page.content.decode()
    assert User.objects.get().registered_at is None
    assert registered_events() == []


def test_following_the_link_completes_the_sign_up(
    client: Client, mandatory: None, register: Register
) -> None:
    inviter = register(email="inviter@example.com").user
    services.complete_registration(user_id=inviter.pk)
    sign_up(client, referral_code=inviter.referral_code)

    answer = Client().post(link())  # on another device

    assert answer.status_code == 302
    user = User.objects.get(email="mei@example.com")
    assert user.registered_at is not None
    assert EmailAddress.objects.get(user=user).verified
    assert Referral.objects.get().status == ReferralStatus.APPROVED
    assert registered_events()[-1] == {"user_id": str(user.pk), "inviter_id": str(inviter.pk)}


def test_following_the_link_again_does_nothing_more(client: Client, mandatory: None) -> None:
    sign_up(client)
    path = link()
    client.post(path)
    before = stored()

    page = client.get(path)
    again = client.post(path)

    assert "This link can't be used" in page.content.decode()
    assert again.status_code == 404
    assert stored() == before


def test_completing_again_publishes_nothing_twice(mandatory: None, register: Register) -> None:
    user = register().user

    assert services.complete_registration(user_id=user.pk) is True
    assert services.complete_registration(user_id=user.pk) is False

    assert len(registered_events()) == 1


def test_confirming_an_optional_address_publishes_nothing_twice(client: Client) -> None:
    sign_up(client)

    Client().post(link())

    assert EmailAddress.objects.get().verified
    assert len(registered_events()) == 1


def test_a_failure_while_completing_confirms_nothing(
    client: Client, mandatory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_up(client)

    def fail(data: UserRegistered) -> None:
        raise RuntimeError("publish")

    monkeypatch.setattr(user_registered, "publish", fail)

    with pytest.raises(RuntimeError, match="publish"):
        client.post(link())

    assert not EmailAddress.objects.get().verified
    assert User.objects.get().registered_at is None


@pytest.mark.django_db(transaction=True)
def test_the_page_that_confirms_has_a_transaction(client: Client, settings: Settings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    sign_up(client)

    try:
        client.post(link())
    except PublishedOutsideTransaction:
        pytest.fail("published outside the transaction that confirms")

    assert len(registered_events()) == 1


@pytest.mark.parametrize("spelled", ["mei@example.com", "MEI@example.com"])
def test_a_known_address_gets_the_same_page_and_another_mail(
    mandatory: None, register: Register, spelled: str
) -> None:
    new = sign_up(Client(), email="new@example.com")
    register(email="mei@example.com")
    before = stored()

    known = sign_up(Client(), email=spelled, referral_code="unknown")

    assert (known.status_code, known["Location"]) == (new.status_code, new["Location"])
    assert known.content == new.content
    assert [str(m).replace("mei@", "new@") for m in get_messages(known.wsgi_request)] == [
        str(m) for m in get_messages(new.wsgi_request)
    ]
    assert stored() == before
    assert [sent.to for sent in mail.outbox] == [["new@example.com"], ["mei@example.com"]]
    assert "already exists" in mail.outbox[1].body


@pytest.mark.django_db(transaction=True)  # mails are sent after the commit
def test_the_api_answers_known_and_unknown_addresses_alike(
    api_client: APIClient, mandatory: None
) -> None:
    typed = {"email": "mei@example.com", "password": PASSWORD, "referral_code": "unknown"}

    first = api_client.post("/api/v1/registrations/", typed)
    before = stored()
    second = api_client.post("/api/v1/registrations/", typed)

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert set(first.json()) == {"detail"}
    assert not first.cookies
    assert not second.cookies
    assert stored() == before
    assert registered_events() == []
    assert len(mail.outbox) == 2


def test_known_addresses_cost_a_hash_too(
    api_client: APIClient, mandatory: None, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(email="mei@example.com")
    hashed: list[str] = []

    def note_and_hash(typed: str) -> str:
        hashed.append(typed)
        return "!"

    monkeypatch.setattr(services, "make_password", note_and_hash)

    for email in ("mei@example.com", "new@example.com"):
        api_client.post("/api/v1/registrations/", {"email": email, "password": PASSWORD})
        sign_up(Client(), email=email)

    assert hashed == [PASSWORD] * 4


def test_logging_in_before_confirming_sends_the_link_again(client: Client, mandatory: None) -> None:
    sign_up(client)

    answer = Client().post("/accounts/login/", {"login": "mei@example.com", "password": PASSWORD})

    assert answer["Location"] == SENT
    assert len(mail.outbox) == 2
    assert registered_events() == []


def test_an_inviter_who_closed_meanwhile_is_not_credited(
    mandatory: None, register: Register, inviter: User
) -> None:
    user = register(referral_code=inviter.referral_code).user
    close(inviter)

    services.complete_registration(user_id=user.pk)

    referral = Referral.objects.get()
    assert (referral.status, referral.reasons) == (ReferralStatus.VOIDED, ["inviter_inactive"])
    assert registered_events() == [{"user_id": str(user.pk), "inviter_id": None}]


def test_an_inviter_who_was_flagged_meanwhile_is_held(
    mandatory: None, register: Register, inviter: User
) -> None:
    user = register(referral_code=inviter.referral_code).user
    flag(inviter)

    services.complete_registration(user_id=user.pk)

    assert Referral.objects.get().status == ReferralStatus.FLAGGED
    assert registered_events()[-1]["inviter_id"] == str(inviter.pk)


def test_staff_made_at_a_terminal_never_register(client: Client, mandatory: None) -> None:
    staff = User.objects.create_superuser("admin@example.com", PASSWORD)
    second = EmailAddress.objects.create(user=staff, email="second@example.com")

    client.post(f"/accounts/confirm-email/{EmailConfirmationHMAC(second).key}/")

    second.refresh_from_db()
    assert second.verified
    assert User.objects.get().registered_at is None
    assert registered_events() == []


def test_a_locked_out_account_is_not_completed(mandatory: None, register: Register) -> None:
    user = register().user
    User.objects.update(is_active=False)

    assert services.complete_registration(user_id=user.pk) is False


def test_an_address_that_another_account_confirmed_first_is_refused_in_words(
    client: Client, mandatory: None, register: Register, inviter: User
) -> None:
    sign_up(client)
    path = link()
    EmailAddress.objects.create(user=inviter, email="mei@example.com", verified=True)

    page = client.get(path)
    answer = client.post(path)

    assert "belongs to another account" in page.content.decode()
    assert answer.status_code == 302
    assert any("another account" in str(text) for text in get_messages(answer.wsgi_request))
    assert registered_events() == []


def test_an_address_that_is_taken_at_the_last_moment_is_refused_in_words(
    client: Client, mandatory: None, inviter: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_up(client)
    EmailAddress.objects.create(user=inviter, email="mei@example.com", verified=True)
    monkeypatch.setattr(EmailAddress, "can_set_verified", lambda self: True)  # a moment ago

    answer = client.post(link())

    assert answer.status_code == 302
    assert any("another account" in str(text) for text in get_messages(answer.wsgi_request))
    assert registered_events() == []


def test_a_sign_up_that_waited_is_complete_at_login_once_confirming_is_optional(
    client: Client, register: Register, settings: Settings
) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    register(email="mei@example.com")
    settings.ACCOUNT_EMAIL_VERIFICATION = "optional"

    for _ in range(2):
        client.post("/accounts/login/", {"login": "mei@example.com", "password": PASSWORD})
        client.logout()

    assert User.objects.get().registered_at is not None
    assert len(registered_events()) == 1


def test_an_address_confirmed_by_other_means_than_the_link_completes_the_sign_up_at_login(
    client: Client, register: Register, mandatory: None
) -> None:
    register(email="mei@example.com")
    EmailAddress.objects.update(verified=True)

    for _ in range(2):
        client.post("/accounts/login/", {"login": "mei@example.com", "password": PASSWORD})
        client.logout()

    assert User.objects.get().registered_at is not None
    assert len(registered_events()) == 1


def test_staff_complete_no_sign_up_by_logging_in(client: Client, mandatory: None) -> None:
    User.objects.create_superuser("admin@example.com", PASSWORD)

    client.post("/accounts/login/", {"login": "admin@example.com", "password": PASSWORD})

    assert "_auth_user_id" in client.session
    assert User.objects.get().registered_at is None
    assert registered_events() == []


@pytest.mark.parametrize("page", ["verification_sent", "verified_email_required"])
def test_both_pages_that_wait_for_a_link_say_the_same(page: str) -> None:
    assert "Follow the link in it to go on" in render_to_string(f"account/{page}.html")


@pytest.mark.parametrize("key", ["nonsense", "MQ:1a2b3c:forged", "-" * 500])
def test_a_link_nobody_was_sent_is_explained(client: Client, key: str) -> None:
    page = client.get(f"/accounts/confirm-email/{key}/")

    assert page.status_code == 200
    assert "This link can't be used" in page.content.decode()
    assert client.post(f"/accounts/confirm-email/{key}/").status_code == 404
