"""Staff manage endpoints over the API; secrets are shown once, and rules have words."""

import json
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from accounts.signals import UserRegistered, user_registered
from api.idempotency import LEASE_IN_CHUNKS
from api.models import IdempotentAnswer
from events.models import Delivery
from relay.endpoints import DEFAULT_SCHEDULE_S, Endpoint
from relay.sealing import unseal
from relay.transport import EXCERPT_LENGTH
from tests.conftest import Drain
from tests.registrations import make_person
from tests.relay.conftest import Register, Subscribe
from tests.relay.partner import Partner

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/endpoints/"
VALID = {
    "name": "CRM",
    "url": "https://crm.example/hooks",
    "event_types": ["accounts.user_registered"],
    "owner_email": "owner@example.com",
}


def client_with(*permissions: str) -> APIClient:
    """Return a client of a member of staff with some permissions on endpoints."""
    user = User.objects.create_user(f"staff{User.objects.count()}@example.com", "irrelevant")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = APIClient()
    client.force_authenticate(user)
    return client


@pytest.fixture
def staff() -> APIClient:
    """Return a client that may do everything to endpoints."""
    actions = ("view", "add", "change", "delete", "replay")
    return client_with(*[f"{action}_endpoint" for action in actions])


KEY: Any = {"HTTP_IDEMPOTENCY_KEY": "the-same"}


def test_an_endpoint_is_created_once_and_its_secret_kept_sealed(staff: APIClient) -> None:
    first, again = staff.post(URL, VALID, **KEY), staff.post(URL, VALID, **KEY)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert "no-store" in again["Cache-Control"]
    assert Endpoint.objects.count() == 1
    kept = IdempotentAnswer.objects.get().body
    assert first.json()["secret"] not in kept
    assert "CRM" not in kept


def test_a_refused_endpoint_can_be_corrected_under_its_key(staff: APIClient) -> None:
    refused = staff.post(URL, {**VALID, "url": "gopher://crm.example.com/"}, **KEY)
    corrected = staff.post(URL, VALID, **KEY)

    assert (refused.status_code, corrected.status_code) == (400, 201)


def test_a_secret_is_rotated_once_under_a_key(staff: APIClient) -> None:
    url = f"{URL}{staff.post(URL, VALID).json()['id']}/secret/"

    first, again = staff.post(url, **KEY), staff.post(url, **KEY)

    assert again.json() == first.json()
    assert unseal(Endpoint.objects.get().sealed_secret) == first.json()["secret"]


def test_a_span_is_replayed_once_under_a_key(staff: APIClient) -> None:
    url = f"{URL}{staff.post(URL, VALID).json()['id']}/replay/"
    make_event()

    first = staff.post(url, {"since": "2026-01-01T00:00:00Z"}, **KEY)
    make_event()
    again = staff.post(url, {"since": "2026-01-01T00:00:00Z"}, **KEY)

    assert (first.json(), again.json()) == ({"replayed": 1}, {"replayed": 1})
    assert Delivery.objects.filter(receiver="relay.send").count() == 1


def test_a_long_replay_keeps_its_key_while_it_runs(staff: APIClient) -> None:
    url = f"{URL}{staff.post(URL, VALID).json()['id']}/replay/"
    span, key = {"since": timezone.now().isoformat()}, {"Idempotency-Key": "long"}
    leases = []

    def replay(**options: Any) -> int:
        until = IdempotentAnswer.objects.get(key="long").leased_until
        assert until is not None
        leases.append(until - timezone.now())
        return staff.post(url, span, headers=key).status_code

    with mock.patch("relay.services.replay_endpoint", replay):
        answer = staff.post(url, span, headers=key)

    assert answer.json() == {"replayed": 409}
    assert leases >= [LEASE_IN_CHUNKS - timedelta(seconds=30)]


def make_event() -> None:
    """Publish a registration."""
    person = make_person()
    with transaction.atomic():
        user_registered.publish(UserRegistered(user_id=person.pk, inviter_id=None))


def test_an_endpoint_is_created_and_its_secret_shown_this_once(staff: APIClient) -> None:
    answer = staff.post(URL, VALID)

    assert answer.status_code == 201, answer.json()
    body = answer.json()
    endpoint = Endpoint.objects.get()
    assert body["secret"] == unseal(endpoint.sealed_secret)
    assert body["secret"].startswith("whsec_")
    assert body["secret"] not in endpoint.sealed_secret
    assert (body["state"], body["max_attempts"]) == ("enabled", 8)
    assert body["schedule_s"] == list(DEFAULT_SCHEDULE_S)
    for shown in (staff.get(f"{URL}{endpoint.pk}/"), staff.get(URL)):
        assert body["secret"] not in shown.content.decode()
        assert "sealed" not in shown.content.decode()


@pytest.mark.parametrize(
    ("changed", "pointer", "code"),
    [
        ({"name": ""}, "/name", "blank"),
        ({"name": 7}, "/name", "invalid"),
        ({"url": "https://127.0.0.1/"}, "/url", "invalid_url"),
        ({"url": "http://crm.example/"}, "/url", "invalid_url"),
        ({"event_types": ["accounts.unheard_of"]}, "/event_types", "unknown_event_type"),
        ({"event_types": []}, "/event_types", "required"),
        ({"event_types": ["relay.test_requested"]}, "/event_types", "unknown_event_type"),
        ({"owner_email": "nobody"}, "/owner_email", "invalid"),
        ({"schedule_s": []}, "/schedule_s", "invalid_schedule"),
        ({"schedule_s": [-1]}, "/schedule_s", "invalid_schedule"),
        ({"max_attempts": 0}, "/max_attempts", "min_value"),
        ({"max_attempts": 51}, "/max_attempts", "max_value"),
        ({"max_attempts": "3"}, "/max_attempts", "invalid"),
    ],
    ids=str,
)
def test_what_an_endpoint_may_not_be_is_named(
    staff: APIClient, changed: dict[str, Any], pointer: str, code: str
) -> None:
    answer = staff.post(URL, {**VALID, **changed})

    assert answer.status_code == 400
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]
    assert not Endpoint.objects.exists()


def test_a_name_is_given_once(staff: APIClient) -> None:
    staff.post(URL, VALID)

    answer = staff.post(URL, VALID)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/name"


def test_an_endpoint_is_changed_and_switched_off_and_on(staff: APIClient) -> None:
    one = f"{URL}{staff.post(URL, VALID).json()['id']}/"

    off = staff.patch(one, {"name": "Payments", "state": "disabled"}).json()
    on = staff.patch(one, {"state": "enabled"}).json()

    assert (off["name"], off["state"], off["disabled_reason"]) == (
        "Payments",
        "disabled",
        "by_staff",
    )
    assert (on["state"], on["disabled_reason"]) == ("enabled", "")


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("amqp://usher@broker.example/", "safe"),  # as it is shown
        ("amqp://usher:new@broker.example/", "new"),
        ("amqp://usher:@broker.example/", None),
        ("amqp://usher@other.example/", None),
    ],
)
def test_a_password_stays_with_the_url_it_was_given_with(
    staff: APIClient, url: str, password: str | None
) -> None:
    created = staff.post(URL, {**VALID, "url": "amqp://usher:safe@broker.example/"}).json()

    answer = staff.patch(f"{URL}{created['id']}/", {"url": url})

    assert answer.status_code == 200
    sealed = Endpoint.objects.get().sealed_password
    assert (unseal(sealed) if sealed else None) == password


def test_an_endpoint_is_deleted(staff: APIClient) -> None:
    one = f"{URL}{staff.post(URL, VALID).json()['id']}/"

    assert staff.delete(one).status_code == 204
    assert staff.get(one).status_code == 404


def test_a_secret_is_replaced_and_shown_once(staff: APIClient) -> None:
    created = staff.post(URL, VALID).json()

    answer = staff.post(f"{URL}{created['id']}/secret/")

    assert answer.status_code == 201
    endpoint = Endpoint.objects.get()
    assert answer.json() == {"secret": unseal(endpoint.sealed_secret)}
    assert unseal(endpoint.sealed_former_secret) == created["secret"]
    assert endpoint.former_secret_until is not None


def test_a_test_event_is_sent(
    staff: APIClient, drain: Drain, partner: Partner, subscribe: Subscribe
) -> None:
    endpoint = subscribe(partner.url)

    answer = staff.post(f"{URL}{endpoint.pk}/test/")
    drain()

    assert answer.status_code == 202
    assert partner.ids() == [answer.json()["event"]]


def test_failed_attempts_are_listed_with_an_excerpt(
    staff: APIClient, drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    partner.answer = lambda handler, received: handler.reply(500, b"no room")
    event = register()
    drain()

    [attempt] = staff.get(f"{URL}{endpoint.pk}/attempts/").json()["results"]

    assert attempt["error"] == "127.0.0.1 answered 500: no room"
    assert attempt["request"] == partner.received[0].body.decode()[:EXCERPT_LENGTH]
    assert attempt["request"].startswith('{"')
    assert (attempt["event"], attempt["number"]) == (str(event.id), 1)


def test_a_span_is_replayed(
    staff: APIClient, drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    register()
    drain()
    since = (timezone.now() - timedelta(hours=1)).isoformat()

    answer = staff.post(f"{URL}{endpoint.pk}/replay/", {"since": since})
    drain()

    assert (answer.status_code, answer.json()) == (202, {"replayed": 1})
    assert len(partner.received) == 2
    assert partner.received[0].body == partner.received[1].body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", ""),
        ("post", ""),
        ("get", "{id}/"),
        ("patch", "{id}/"),
        ("delete", "{id}/"),
        ("post", "{id}/secret/"),
        ("post", "{id}/test/"),
        ("post", "{id}/replay/"),
        ("get", "{id}/attempts/"),
    ],
)
@pytest.mark.parametrize("is_known", [False, True])
def test_without_permission_nothing_is_shown_or_done(
    staff: APIClient, method: str, path: str, is_known: bool
) -> None:
    endpoint_id = staff.post(URL, VALID).json()["id"]
    client = client_with() if is_known else APIClient()

    answer = getattr(client, method)(URL + path.format(id=endpoint_id), {})

    assert answer.status_code == (403 if is_known else 401)
    assert "crm.example" not in json.dumps(answer.json())


@pytest.mark.parametrize("path", ["", "secret/", "test/", "replay/", "attempts/"])
def test_an_endpoint_that_is_not_there_is_not_found(staff: APIClient, path: str) -> None:
    url = f"{URL}019ab5d2-7c1e-7b60-9d0f-0c8f5f6f3f10/{path}"
    method = staff.get if path in {"", "attempts/"} else staff.post

    span = {"since": timezone.now().isoformat()} if path == "replay/" else {}
    assert method(url, span).status_code == 404
