"""What Sentry is told of an error: where it happened and what it belongs to, nothing about whom."""

import logging
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
import sentry_sdk
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from events.models import Delivery
from project.observing import errors
from project.observing.masking import mask
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS, PASSWORD = "mei@example.com", "correct-horse-7"
TOKEN = "9c41a66efb3f4e5d8a17c03bd0d1d2f7a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0"
COUPON, REFERRAL = "5NTPKYF57VEE", "ATQFYRRF"  # well formed: what Usher would give out
EVENT = "019ab5d2-7c1e-7b60-9d0f-0c8f5f6f3f10"
SECRETS = (ADDRESS, PASSWORD, TOKEN, COUPON, REFERRAL, "203.0.113.9", "tell-tale")


class Captured(Transport):
    """Keeps what would have been sent."""

    sent: list[Envelope]

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        type(self).sent = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep it."""
        self.sent.append(envelope)


@csrf_exempt
def fail(request: HttpRequest, **kwargs: str) -> HttpResponse:
    """Fail with everything in hand that must not leave."""
    password = request.POST["password"]
    raise RuntimeError(f"{ADDRESS} password={password} Token {TOKEN} {COUPON} {REFERRAL} {EVENT}")


urlpatterns = [path("i/<str:code>/", fail)]


@pytest.fixture
def sent(settings: Any) -> Iterator[list[Envelope]]:
    """Report errors to a list."""
    settings.SENTRY_DSN = "https://key@sentry.example/1"
    settings.RELEASE = "2026.1"
    errors.start(transport=Captured)
    yield Captured.sent
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.init()


def events(sent: list[Envelope]) -> list[dict[str, Any]]:
    """Return the events among what was sent."""
    return [dict(event) for envelope in sent if (event := envelope.get_event())]


@pytest.mark.urls("tests.project.test_error_reports")
def test_a_failed_request_is_told_and_nothing_about_whom(sent: list[Envelope]) -> None:
    request = RequestFactory().post(
        f"/i/{REFERRAL}/?token={TOKEN}",
        {"email": ADDRESS, "password": PASSWORD},
        headers={"Authorization": f"Token {TOKEN}", "X-Request-ID": "request-1"},
        REMOTE_ADDR="203.0.113.9",
        HTTP_USER_AGENT="tell-tale",
        HTTP_COOKIE=f"sessionid={TOKEN}",
    )

    WSGIHandler()(request.environ, Mock())

    (event,) = events(sent)
    (error,) = event["exception"]["values"]
    assert error["type"] == "RuntimeError"
    assert EVENT in error["value"]
    assert event["tags"]["correlation_id"] == "request-1"
    assert event["request"] == {"method": "POST"}
    assert event["release"] == "2026.1"
    assert_tells_nothing(sent)


def assert_tells_nothing(sent: list[Envelope]) -> None:
    """Check every byte of what left."""
    told = b"".join(envelope.serialize() for envelope in sent).decode()
    assert [secret for secret in SECRETS if secret in told] == []


def test_a_failed_delivery_is_told_with_its_ids(
    sent: list[Envelope], publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()

    drain()

    delivery = Delivery.objects.get(receiver="probe.record")
    (event,) = events(sent)
    assert event["exception"]["values"][0]["type"] == "PermanentFailure"
    assert {
        "receiver": "probe.record",
        "queue": delivery.queue,
        "event_id": str(delivery.event_id),
        "event_type": "probe.happened",
        "delivery_id": str(delivery.pk),
        "attempt": "1",
    }.items() <= event["tags"].items()
    assert_tells_nothing(sent)


def test_what_is_logged_is_masked(sent: list[Envelope]) -> None:
    logging.getLogger("accounts").error("%s has the coupon %s", ADDRESS, COUPON)

    (event,) = events(sent)
    assert event["logentry"]["formatted"] == "…@… has the coupon …"
    assert_tells_nothing(sent)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to Mei.Lin+x@mail.example.com now", "to …@… now"),
        ('{"password": "correct-horse-7", "n": 1}', '{"password": "…", "n": 1}'),
        (f"Authorization: Token {TOKEN}", "Authorization: …"),
        ("the secret whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0", "the secret …"),
        ("code 123456 is wrong", "code … is wrong"),
        (f"coupon {COUPON[:4]}-{COUPON[4:8]}-{COUPON[8:]} is gone", "coupon … is gone"),
        (f"event {EVENT} of DATABASE", f"event {EVENT} of DATABASE"),
        ("x\nDETAIL:  Key (email)=(a) exists.", "x\nDETAIL: (left out)"),
        ("coupons.issue_welcome_coupons failed", "coupons.issue_welcome_coupons failed"),
    ],
)
def test_masking(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_no_thread_is_started_before_there_is_an_error(settings: Any) -> None:
    settings.SENTRY_DSN = "https://key@127.0.0.1:1/1"
    before = set(threading.enumerate())

    errors.start()

    assert set(threading.enumerate()) == before  # a worker's supervisor forks
    sentry_sdk.init()
