"""Two people at once: one of them wins and the other gets a normal answer."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.models import User
from events.models import Delivery, Event
from tests.accounts.conftest import PASSWORD, registered_events

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def meet_before_inserting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two registrations pass every check before either of them inserts."""
    barrier = threading.Barrier(2, timeout=20)
    insert = services._insert

    def wait_and_insert(*args: Any) -> None:
        barrier.wait()
        insert(*args)

    monkeypatch.setattr(services, "_insert", wait_and_insert)


def at_once(call: Callable[[], Any]) -> list[Any]:
    """Run a call in two threads with connections of their own; return both results."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return results


def test_the_service_lets_one_win(meet_before_inserting: None) -> None:
    results = at_once(lambda: services.register(email="mei@example.com", password=PASSWORD))

    assert {type(result) for result in results} == {services.Registration, services.EmailTaken}
    assert_one_registration()


def test_the_page_shows_the_loser_the_usual_error(meet_before_inserting: None) -> None:
    typed = {"email": "mei@example.com", "referral_code": "kept"}
    passwords = iter([PASSWORD, f"not {PASSWORD}"])

    def sign_up() -> Any:
        own = typed | {"password1": next(passwords)}  # they are two people
        return Client().post(reverse("account_signup"), own)

    results = at_once(sign_up)

    loser, winner = sorted(results, key=lambda response: int(response.status_code))
    assert (winner.status_code, winner["Location"]) == (302, "/wallet/")
    assert loser.status_code == 200
    assert "already exists" in loser.context["form"].errors["email"][0]
    assert 'value="kept"' in loser.content.decode()
    assert_one_registration()


def test_a_form_that_is_sent_twice_at_once_opens_the_one_account(
    meet_before_inserting: None,
) -> None:
    typed = {"email": "mei@example.com", "password1": PASSWORD, "referral_code": ""}

    results = at_once(lambda: Client().post(reverse("account_signup"), typed))

    assert [(each.status_code, each["Location"]) for each in results] == [(302, "/wallet/")] * 2
    assert_one_registration()


def test_the_page_does_not_tell_where_addresses_are_confirmed_first(
    meet_before_inserting: None, mandatory: None
) -> None:
    typed = {"email": "mei@example.com", "password1": PASSWORD}

    results = at_once(lambda: Client().post(reverse("account_signup"), typed))

    sent = reverse("account_email_verification_sent")
    assert [(answer.status_code, answer["Location"]) for answer in results] == [(302, sent)] * 2
    assert User.objects.count() == EmailAddress.objects.count() == 1
    assert len(mail.outbox) == 2


def test_the_api_answers_the_loser_409(meet_before_inserting: None) -> None:
    typed = {"email": "mei@example.com", "password": PASSWORD}

    results = at_once(
        lambda: Client().post("/api/v1/registrations/", typed, content_type="application/json")
    )

    assert sorted(answer.status_code for answer in results) == [201, 409]
    assert_one_registration()


def test_two_clicks_on_the_confirmation_complete_the_registration_once(mandatory: None) -> None:
    services.register(email="mei@example.com", password=PASSWORD)
    key = EmailConfirmationHMAC(EmailAddress.objects.get()).key
    url = reverse("account_confirm_email", args=[key])

    results = at_once(lambda: Client().post(url))

    assert {answer.status_code for answer in results} <= {302, 404}
    assert_one_registration()


def assert_one_registration() -> None:
    """Check that there is one of everything, and that it belongs together."""
    user = User.objects.get()
    assert user.registered_at is not None
    assert EmailAddress.objects.get().user == user
    assert registered_events() == [{"user_id": str(user.pk), "inviter_id": None}]
    assert Delivery.objects.count() == Event.objects.get().deliveries.count()
