"""Events reach other systems over HTTP: signed, in order, at least once, the same each time."""

import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from django.core import mail
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from events.context import correlated
from events.delivery.drain import drain as drain_queue
from events.models import Attempt, Delivery, DeliveryState
from events.operations.replay import replay
from events.operations.selection import Selection
from relay import health, sending, services
from relay.endpoints import DisabledReason, Endpoint, EndpointState
from relay.models import ProcessedEvent
from relay.sealing import unseal
from relay.transport import TOTAL_S
from relay.transports import webhook
from tests.conftest import Drain
from tests.probe.observe import make_due
from tests.processes import wait_until
from tests.registrations import make_person
from tests.relay.conftest import (
    CORRELATION_ID,
    PERCENT_ENCODED,
    Register,
    Subscribe,
    attributes_in,
)
from tests.relay.partner import Handler, Partner, Received

pytestmark = pytest.mark.django_db(transaction=True)


def sends() -> Any:
    """Return the deliveries to endpoints."""
    return Delivery.objects.filter(receiver=services.SEND_RECEIVER).order_by("pk")


def verify(endpoint: Endpoint, received: Received) -> Any:
    """Return the body as the official library reads it. Raises WebhookVerificationError."""
    return Webhook(unseal(endpoint.sealed_secret)).verify(received.body, received.headers)


def letters_to_the_owner() -> list[Any]:
    """Return the mails to the endpoint's owner; newcomers get others."""
    return [letter for letter in mail.outbox if letter.to == ["owner@example.com"]]


def metadata_of(received: Received) -> dict[str, str]:
    """Return the headers that repeat the event's attributes."""
    return {name: text for name, text in received.headers.items() if name.startswith("ce-")}


def answer_with(status: int, **headers: str) -> Any:
    """Return an answer."""
    return lambda handler, received: handler.reply(status, b"as the test says", **headers)


def test_once(drain: Drain, partner: Partner, subscribe: Subscribe, register: Register) -> None:
    endpoint = subscribe(partner.url)
    event = register()

    drain()

    [received] = partner.received
    assert received.path == "/hooks/usher"
    assert received.headers["content-type"] == "application/cloudevents+json"
    assert verify(endpoint, received) == event.to_cloudevent("http://127.0.0.1:8000")
    assert sends().get().state == DeliveryState.DONE
    assert sends().get().target == str(endpoint.pk)


def test_an_events_attributes_are_headers_too_percent_encoded(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    subscribe(partner.url)
    with correlated(CORRELATION_ID):
        event = register()

    drain()

    [received] = partner.received
    metadata = metadata_of(received)
    assert metadata["ce-correlationid"] == PERCENT_ENCODED
    assert metadata["ce-time"] == event.occurred_at.isoformat()
    assert metadata["ce-type"] == "accounts.user_registered.v1"
    unquoted = {name: unquote(text) for name, text in metadata.items()}
    assert unquoted == attributes_in(received.body, "ce-")


def test_twice(drain: Drain, partner: Partner, subscribe: Subscribe, register: Register) -> None:
    subscribe(partner.url)
    register()
    drain()
    ProcessedEvent.objects.all().delete()

    replay(Selection(state=DeliveryState.DONE, receiver="relay.fan_out"))
    drain()

    assert len(partner.received) == 1
    assert sends().count() == 1


def test_crash_then_retry(
    drain: Drain,
    partner: Partner,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("crashed at the last moment")

    subscribe(partner.url)
    register()
    with monkeypatch.context() as crashing:
        crashing.setattr(health, "note", crash)
        drain()
    assert sends().get().state == DeliveryState.PENDING
    make_due()

    drain()

    assert sends().get().state == DeliveryState.DONE
    first, second = partner.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_only_what_an_endpoint_asked_for_is_addressed_to_it(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    subscribe(partner.url, event_types=["accounts.account_closed"])
    register()

    drain()

    assert partner.received == []
    assert not sends().exists()


def test_a_retry_is_byte_equal_under_the_same_id(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url, schedule_s=[0])
    event = register()
    answers = iter([500, 200])
    partner.answer = lambda handler, received: handler.reply(next(answers))

    drain()

    first, second = partner.received
    assert first.body == second.body
    assert metadata_of(first) == metadata_of(second) != {}
    assert partner.ids() == [str(event.id)] * 2
    assert verify(endpoint, second)["id"] == str(event.id)


def test_a_failure_is_tried_again_by_the_endpoints_schedule_and_kept_with_an_excerpt(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    subscribe(partner.url, schedule_s=[0, 300])
    partner.answer = answer_with(500)
    register()

    drain()

    delivery, attempt = sends().get(), Attempt.objects.get()
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 1)
    assert 290 < (delivery.due_at - timezone.now()).total_seconds() <= 300
    assert attempt.error_message == "127.0.0.1 answered 500: as the test says"
    assert "/hooks/usher" not in attempt.traceback + attempt.error_message


def test_a_delivery_is_dead_after_the_endpoints_last_attempt(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    subscribe(partner.url, schedule_s=[0], max_attempts=3)
    partner.answer = answer_with(500)
    register()

    def is_dead() -> bool:
        drain()  # which ends where a try brought nothing about
        return bool(sends().get().state == DeliveryState.DEAD)

    wait_until(is_dead)

    assert len(partner.received) == 3


def test_one_persons_events_keep_their_order_through_failures(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    def fail_every_third(handler: Handler, received: Received) -> None:
        handler.reply(500 if len(partner.received) % 3 == 0 else 204)

    subscribe(partner.url, schedule_s=[0], max_attempts=20)
    partner.answer = fail_every_third
    people = [make_person() for _ in range(3)]
    published = [register(people[number % 3]) for number in range(12)]

    drain()

    arrived = list(dict.fromkeys(partner.ids()))
    assert set(arrived) == {str(event.id) for event in published}
    for person in people:
        ids = [str(event.id) for event in published if event.key == str(person.pk)]
        assert [each for each in arrived if each in ids] == ids


def test_a_redirect_is_a_failure_and_is_not_followed(
    drain: Drain,
    partner: Partner,
    second_partner: Partner,
    subscribe: Subscribe,
    register: Register,
) -> None:
    subscribe(partner.url)
    partner.answer = answer_with(302, Location=second_partner.url)
    register()

    drain()

    assert second_partner.received == []
    assert "answered 302" in Attempt.objects.get().error_message


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_to_for_everything_sent_to_the_endpoint(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register, form: str
) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1000)
    subscribe(partner.url, schedule_s=[0])
    value = "1000" if form == "seconds" else format_datetime(at, usegmt=True)
    partner.answer = answer_with(503, Retry_After=value)
    register()
    drain()

    register()
    drain()

    assert len(partner.received) == 1
    waits = [(d.due_at - timezone.now()).total_seconds() for d in sends()]
    assert all(980 < wait < 1001 for wait in waits), waits
    assert sorted(d.attempts for d in sends()) == [0, 1]


def test_gone_disables_and_tells_the_owner_once(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    partner.answer = answer_with(410)
    register()
    register()

    drain()

    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.disabled_reason) == ("disabled", DisabledReason.GONE)
    [letter] = letters_to_the_owner()
    assert "CRM" in letter.subject
    assert set(sends().values_list("state", flat=True)) == {DeliveryState.PENDING}


def test_five_days_of_failures_disable(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    partner.answer = answer_with(500)
    register()
    drain()
    days_ago = timezone.now() - health.FAILING_FOR
    Endpoint.objects.update(failing_since=days_ago)
    register()

    drain()

    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.disabled_reason) == ("disabled", DisabledReason.FAILING)
    assert len(letters_to_the_owner()) == 1


def test_a_success_ends_a_row_of_failures(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url, schedule_s=[0])
    answers = iter([500, 500, 200])
    partner.answer = lambda handler, received: handler.reply(next(answers))
    register()

    def all_are_received() -> bool:
        drain()  # which ends where a try brought nothing about
        return len(partner.received) == 3

    wait_until(all_are_received)

    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.failing_since) == (0, None)


def test_what_a_disabled_endpoint_is_owed_waits_until_it_is_enabled(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    register()
    drain_fan_out_only(endpoint)
    drain()
    assert partner.received == []

    services.enable_endpoint(endpoint_id=endpoint.pk)
    drain()

    assert len(partner.received) == 1


def drain_fan_out_only(endpoint: Endpoint) -> None:
    """Address what is due, and disable the endpoint before anything is sent."""
    from events.delivery import targets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "MAX_CALLS", 0)
        drain_queue("relay")
    services.disable_endpoint(endpoint_id=endpoint.pk)


def test_both_secrets_sign_while_one_replaces_the_other(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    former = unseal(endpoint.sealed_secret)
    new = services.rotate_secret(endpoint_id=endpoint.pk)
    register()

    drain()

    [received] = partner.received
    for secret in (former, new):
        assert Webhook(secret).verify(received.body, received.headers)


def test_the_former_secret_signs_no_more_after_a_day(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    former = unseal(endpoint.sealed_secret)
    services.rotate_secret(endpoint_id=endpoint.pk)
    Endpoint.objects.update(former_secret_until=timezone.now())
    register()

    drain()

    [received] = partner.received
    with pytest.raises(WebhookVerificationError):
        Webhook(former).verify(received.body, received.headers)


def test_a_lost_secret_key_is_told_and_nothing_is_sent(
    drain: Drain,
    partner: Partner,
    subscribe: Subscribe,
    register: Register,
    settings: Settings,
) -> None:
    subscribe(partner.url)
    register()
    settings.SECRET_KEY = "another key, with the former one forgotten"

    drain()

    assert partner.received == []
    assert "SECRET_KEY_FALLBACKS" in Attempt.objects.get().error_message


def test_a_former_secret_key_still_unseals(
    drain: Drain,
    partner: Partner,
    subscribe: Subscribe,
    register: Register,
    settings: Settings,
) -> None:
    subscribe(partner.url)
    register()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key"

    drain()

    assert len(partner.received) == 1


def test_at_most_64_kb_of_an_answer_are_read(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    written = 0

    def pour(handler: Handler, received: Received) -> None:
        nonlocal written
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**9))
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x" * 65536)
            written += 65536

    subscribe(partner.url)
    partner.answer = pour
    register()

    drain()

    assert sends().get().state == DeliveryState.DONE
    assert written < 16 * 1024 * 1024  # what the kernel buffers, and not the whole


def test_an_answer_that_drips_is_given_up_at_the_deadline(
    drain: Drain,
    partner: Partner,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def drip(handler: Handler, received: Received) -> None:
        while not partner.is_over.wait(0.05):
            handler.wfile.write(b"X")
            handler.wfile.flush()

    monkeypatch.setattr(webhook, "TOTAL_S", 0.5)
    subscribe(partner.url)
    partner.answer = drip
    register()

    began = time.monotonic()
    drain_queue("relay")

    assert time.monotonic() - began < 5
    assert "no complete answer within 0.5 s" in Attempt.objects.get().error_message


def test_an_endpoint_that_hangs_delays_no_other_and_then_is_left_alone(
    partner: Partner, second_partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    others_arrived = threading.Event()
    hung_meanwhile: list[bool] = []

    def hang(handler: Handler, received: Received) -> None:
        hung_meanwhile.append(others_arrived.wait(TOTAL_S - 1))
        handler.close_connection = True

    def note(handler: Handler, received: Received) -> None:
        handler.reply(204)
        if len(second_partner.received) == 20:
            others_arrived.set()

    hanging = subscribe(partner.url, "hanging")
    subscribe(second_partner.url, "prompt")
    partner.answer, second_partner.answer = hang, note
    for _ in range(20):
        register()

    drain_queue("relay")

    assert hung_meanwhile == [True]
    hanging.refresh_from_db()
    assert hanging.rests_until is not None
    attempts = sends().filter(target=str(hanging.pk)).values_list("attempts", flat=True)
    assert sorted(attempts) == [0] * 19 + [1]


def test_a_batch_does_not_begin_for_longer_than_a_moment(
    drain: Drain,
    partner: Partner,
    subscribe: Subscribe,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "BEGIN_WITHIN_S", 0.0)
    subscribe(partner.url)
    register()

    drain_queue("relay", budget_s=0.3)

    assert sends().get().attempts == 0
    assert partner.received == []


def test_an_endpoint_that_is_away_is_a_failed_attempt(
    drain: Drain, subscribe: Subscribe, register: Register
) -> None:
    subscribe("http://127.0.0.1:9/hooks")
    register()

    drain()

    assert "Connection refused" in Attempt.objects.get().error_message


def test_a_test_event_goes_to_one_endpoint_also_where_it_is_disabled(
    drain: Drain, partner: Partner, second_partner: Partner, subscribe: Subscribe
) -> None:
    tried = subscribe(partner.url, "tried")
    subscribe(second_partner.url, "other")
    services.disable_endpoint(endpoint_id=tried.pk)

    event_id = services.test_endpoint(endpoint_id=tried.pk)
    drain()

    [received] = partner.received
    body = json.loads(received.body)
    assert (body["id"], body["type"]) == (str(event_id), "relay.test_requested.v1")
    assert second_partner.received == []
    assert Endpoint.objects.get(pk=tried.pk).state == EndpointState.DISABLED


def test_replaying_a_span_sends_all_of_it_once_more(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    before_it_was_there = register()
    drain()
    endpoint = subscribe(partner.url)
    sent = register()
    drain()

    replayed = services.replay_endpoint(
        endpoint_id=endpoint.pk, since=before_it_was_there.occurred_at
    )
    drain()

    assert replayed == 2
    assert sorted(partner.ids()) == sorted(
        [str(sent.id), str(sent.id), str(before_it_was_there.id)]
    )


def test_deleting_skips_what_was_owed(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> None:
    endpoint = subscribe(partner.url)
    register()
    drain_fan_out_only(endpoint)

    services.delete_endpoint(endpoint_id=endpoint.pk, by="operator@example.com")
    drain()

    delivery = sends().get()
    assert (delivery.state, delivery.skipped_by) == (DeliveryState.SKIPPED, "operator@example.com")
    assert partner.received == []


def test_no_write_waits_for_the_acknowledgement_of_the_one_before(partner: Partner) -> None:
    url = urlsplit(partner.url)
    connection = webhook.Connection(url.hostname or "", url.port, None)

    with connection.within(5):
        connection.connect()

    assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    connection.close()
