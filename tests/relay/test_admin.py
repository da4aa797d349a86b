"""Staff manage endpoints in the admin site."""

import html
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from relay.endpoints import Endpoint
from relay.sealing import unseal
from tests.conftest import Drain
from tests.relay.conftest import Register, Subscribe
from tests.relay.partner import Partner

pytestmark = pytest.mark.django_db(transaction=True)

LISTING = "/admin/relay/endpoint/"
FORM = {
    "name": "CRM",
    "url": "https://crm.example/hooks",
    "event_types": ["accounts.user_registered"],
    "owner_email": "owner@example.com",
    "max_attempts": "8",
    "schedule_s": "[0, 5]",
}


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser that a superuser is logged in with."""
    client.force_login(User.objects.create_superuser("staff@example.com", "irrelevant here"))
    return client


def act(client: Client, action: str, endpoint: Endpoint) -> str:
    """Run an action on an endpoint; return the page that follows."""
    data = {"action": action, "_selected_action": [str(endpoint.pk)]}
    return client.post(LISTING, data, follow=True).content.decode()


def test_a_new_endpoints_secret_is_shown_once(staff: Client) -> None:
    answer = staff.post(f"{LISTING}add/", FORM)

    endpoint = Endpoint.objects.get()
    secret = unseal(endpoint.sealed_secret)
    assert answer.status_code == 200
    assert secret in html.unescape(answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    assert secret not in str(answer.cookies)
    for url in (LISTING, f"{LISTING}{endpoint.pk}/change/"):
        again = staff.get(url).content.decode()
        assert secret not in again
        assert endpoint.sealed_secret not in again


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"url": "https://127.0.0.1/"}, "private addresses"),
        ({"event_types": ["nonsense"]}, "Select a valid choice"),
        ({"schedule_s": "[true]"}, "whole number of seconds"),
        ({"schedule_s": "7"}, "1 to 50 waiting times"),
        ({"max_attempts": "0"}, "greater than or equal to 1"),
    ],
    ids=str,
)
def test_what_an_endpoint_may_not_be_is_told(
    staff: Client, changed: dict[str, Any], sentence: str
) -> None:
    page = staff.post(f"{LISTING}add/", {**FORM, **changed}).content.decode()

    assert sentence in page
    assert not Endpoint.objects.exists()


def test_a_change_keeps_the_password_and_the_secret(staff: Client) -> None:
    form = {**FORM, "url": "amqp://usher:safe@broker.example/"}
    staff.post(f"{LISTING}add/", form)
    before = Endpoint.objects.get()
    change = f"{LISTING}{before.pk}/change/"
    assert "safe" not in staff.get(change).content.decode()

    staff.post(change, {**form, "url": before.url, "name": "Broker"})

    after = Endpoint.objects.get()
    assert after.name == "Broker"
    assert (after.sealed_password, after.sealed_secret) == (
        before.sealed_password,
        before.sealed_secret,
    )
    assert unseal(after.sealed_password) == "safe"


def test_an_endpoint_is_switched_off_and_on(staff: Client, subscribe: Subscribe) -> None:
    endpoint = subscribe("https://crm.example/")

    act(staff, "disable", endpoint)
    off = Endpoint.objects.get().state
    act(staff, "enable", endpoint)

    assert (off, Endpoint.objects.get().state) == ("disabled", "enabled")


def test_a_new_secret_is_shown(staff: Client, subscribe: Subscribe) -> None:
    endpoint = subscribe("https://crm.example/")

    page = act(staff, "rotate", endpoint)

    assert unseal(Endpoint.objects.get().sealed_secret) in html.unescape(page)
    assert "For a day" in page
    assert "style=" not in page  # the Content-Security-Policy would not let it count


def test_a_test_event_and_a_replay_are_sent(
    staff: Client, drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    event = register()
    drain()

    act(staff, "send_test", endpoint)
    act(staff, "replay_day", endpoint)
    drain()

    assert partner.ids().count(str(event.id)) == 2
    assert len(partner.received) == 3


def test_its_deliveries_are_linked(staff: Client, subscribe: Subscribe) -> None:
    endpoint = subscribe("https://crm.example/")
    url = f"{reverse('admin:events_delivery_changelist')}?receiver=relay.send&target={endpoint.pk}"

    page = staff.get(f"{LISTING}{endpoint.pk}/change/").content.decode()

    assert url.replace("&", "&amp;") in page
    assert staff.get(url).status_code == 200


def test_deleting_goes_through_the_services(staff: Client, subscribe: Subscribe) -> None:
    endpoint = subscribe("https://crm.example/")

    staff.post(f"{LISTING}{endpoint.pk}/delete/", {"post": "yes"})

    assert not Endpoint.objects.exists()
