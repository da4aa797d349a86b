"""Risk checks: asked with a deadline; answered once, in time, late, or never."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook

from accounts.models import User
from accounts.signals import RiskCheckRequested, risk_check_requested, risk_decided
from events.models import Delivery, DeliveryState, Event
from events.operations.invariants import Circumstances
from events.operations.replay import replay
from events.operations.selection import Selection
from relay import risk_checks
from relay.invariants import check_relay
from relay.risk import ReceivedMessage, RiskCheck, RiskCheckState
from relay.signals import risk_check_timed_out
from tests.conftest import Drain
from tests.parallel import run_at_once
from tests.registrations import make_person

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FORMER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
URL = "/api/v1/risk-decisions/"
NOBODY = "019ab5d2-7c1e-7b60-9d0f-0c8f5f6f3f10"


@pytest.fixture(autouse=True)
def _secrets(settings: Settings) -> None:
    settings.RISK_DECISION_SECRETS = [SECRET, FORMER]


@pytest.fixture
def person() -> User:
    """Return somebody who is judged."""
    return make_person()


def ask(person: User) -> None:
    """Request a risk check."""
    with transaction.atomic():
        risk_check_requested.publish(
            RiskCheckRequested(user_id=person.pk, signals=["disposable_domain"])
        )


def decide(
    client: Client,
    person: User | None = None,
    *,
    message_id: str = "msg_1",
    secret: str = SECRET,
    at: datetime | None = None,
    body: Any = None,
    signed_body: Any = None,
    **extra: str,
) -> Any:
    """Send a decision, signed."""
    content = {"user": str(person.pk) if person else "", "decision": "flag", "reason": "proxy"}
    text = json.dumps(body if body is not None else content)
    at = at or datetime.now(UTC)
    signature = Webhook(secret).sign(
        message_id, at, json.dumps(signed_body) if signed_body else text
    )
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
        **extra,
    }
    return client.post(URL, text, content_type="application/json", headers=headers)


def decisions() -> list[dict[str, Any]]:
    """Return the data of what was published."""
    rows = Event.objects.filter(type=risk_decided.type).order_by("position")
    return list(rows.values_list("data", flat=True))


def test_a_request_is_put_on_record_with_its_deadline(
    drain: Drain, person: User, settings: Settings
) -> None:
    settings.RISK_CHECK_DEADLINE_S = 60
    ask(person)

    drain()

    check = RiskCheck.objects.get()
    assert (check.user, check.state) == (person, RiskCheckState.WAITING)
    assert check.deadline_at - check.requested_at == timedelta(seconds=60)


def test_a_replayed_request_opens_no_second_check(drain: Drain, person: User) -> None:
    ask(person)
    drain()

    replay(Selection(state=DeliveryState.DONE, receiver="relay.fan_out"))
    drain()

    assert RiskCheck.objects.count() == 1
    assert set(Delivery.objects.values_list("state", flat=True)) == {DeliveryState.DONE}


@pytest.mark.parametrize("secret", [SECRET, FORMER])
def test_an_answer_is_published_and_closes_the_check(
    drain: Drain, client: Client, person: User, secret: str
) -> None:
    ask(person)
    drain()

    answer = decide(client, person, secret=secret)

    assert (answer.status_code, answer.json()) == (202, {"id": "msg_1"})
    assert decisions() == [{"user_id": str(person.pk), "decision": "flag", "reason": "proxy"}]
    check = RiskCheck.objects.get()
    assert (check.state, check.decision) == (RiskCheckState.ANSWERED, "flag")


def test_a_repeated_message_gets_the_same_answer_and_has_one_effect(
    client: Client, person: User
) -> None:
    first = decide(client, person)

    second = decide(client, person)

    assert (
        (first.status_code, first.json())
        == (second.status_code, second.json())
        == (
            202,
            {"id": "msg_1"},
        )
    )
    assert len(decisions()) == 1


def test_the_same_message_many_times_at_once_has_one_effect(person: User) -> None:
    def receive() -> None:
        risk_checks.receive_decision(
            message_id="msg_1", user_id=person.pk, decision="clear", reason="fine"
        )

    run_at_once([receive] * 6)

    assert len(decisions()) == 1
    assert ReceivedMessage.objects.count() == 1


def test_an_unasked_decision_is_published_too(client: Client, person: User) -> None:
    assert decide(client, person).status_code == 202

    assert len(decisions()) == 1


@pytest.mark.parametrize(
    "forged",
    [
        {"secret": "whsec_" + "A" * 32},
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"at": datetime(2099, 1, 1, tzinfo=UTC)},
        {"signed_body": {"user": "other"}},
        {"webhook-signature": ""},
        {"webhook-signature": "nonsense"},
        {"webhook-signature": "v1,%%%"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e400"},
        {"webhook-id": ""},
        {"webhook-id": "other"},
        {"webhook-id": "x" * 256},
    ],
    ids=str,
)
def test_what_nobody_known_has_signed_just_now_is_refused(
    client: Client, person: User, forged: dict[str, Any]
) -> None:
    answer = decide(client, person, **forged)

    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "bad_signature"
    assert decisions() == []
    assert not ReceivedMessage.objects.exists()


def test_without_secrets_nobody_is_believed(
    client: Client, person: User, settings: Settings
) -> None:
    settings.RISK_DECISION_SECRETS = []

    assert decide(client, person).status_code == 401


def test_a_body_that_is_no_text_is_refused(client: Client) -> None:
    headers = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}

    answer = client.post(URL, b"\xff\xfe", content_type="application/json", headers=headers)

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"decision": "flag", "reason": "r"}, "/user", "required"),
        ({"user": NOBODY, "decision": "flag", "reason": "r"}, "/user", "unknown_user"),
        ({"user": "someone", "decision": "flag", "reason": "r"}, "/user", "unknown_user"),
        ({"user": 7, "decision": "flag", "reason": "r"}, "/user", "invalid"),
        ({"user": "{me}", "decision": "ban", "reason": "r"}, "/decision", "invalid_choice"),
        ({"user": "{me}", "decision": "flag"}, "/reason", "required"),
        ({"user": "{me}", "decision": "flag", "reason": 1}, "/reason", "invalid"),
        ({"user": "{me}", "decision": "flag", "reason": "x" * 201}, "/reason", "max_length"),
        ({"user": "{me}", "decision": "flag", "reason": "r", "x": 1}, "/x", "unknown_field"),
    ],
    ids=str,
)
def test_a_bad_field_is_named_and_leaves_no_trace(
    client: Client, person: User, body: dict[str, Any], pointer: str, code: str
) -> None:
    if body.get("user") == "{me}":
        body = {**body, "user": str(person.pk)}

    answer = decide(client, person, body=body)

    assert answer.status_code == 400
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]
    assert decisions() == []
    assert not ReceivedMessage.objects.exists()


def test_a_check_past_its_deadline_times_out_once(drain: Drain, person: User) -> None:
    ask(person)
    drain()
    RiskCheck.objects.update(deadline_at=timezone.now())

    timed_out = [risk_checks.time_out_checks(), risk_checks.time_out_checks()]

    check = RiskCheck.objects.get()
    event = Event.objects.get(type=risk_check_timed_out.type)
    assert timed_out == [1, 0]
    assert check.state == RiskCheckState.TIMED_OUT
    assert event.data == {"user_id": str(person.pk), "risk_check_id": str(check.pk)}
    assert event.causation_id == check.event_id
    assert list(check_relay(Circumstances())) == []


def test_a_check_before_its_deadline_does_not_time_out(drain: Drain, person: User) -> None:
    ask(person)
    drain()

    assert risk_checks.time_out_checks() == 0


def test_many_sweeps_at_once_time_a_check_out_once(drain: Drain, person: User) -> None:
    for _ in range(5):
        ask(person)
    drain()
    RiskCheck.objects.update(deadline_at=timezone.now())

    run_at_once([lambda: risk_checks.time_out_checks()] * 4)

    assert Event.objects.filter(type=risk_check_timed_out.type).count() == 5


def test_timing_out_takes_the_same_statements_for_one_and_for_many(
    drain: Drain, django_assert_max_num_queries: Any
) -> None:
    for _ in range(20):
        ask(make_person())
    drain()
    RiskCheck.objects.update(deadline_at=timezone.now())

    with django_assert_max_num_queries(20):
        assert risk_checks.time_out_checks() == 20


def test_a_late_answer_is_recorded_as_late_and_still_published(
    drain: Drain, client: Client, person: User
) -> None:
    ask(person)
    drain()
    RiskCheck.objects.update(deadline_at=timezone.now())
    risk_checks.time_out_checks()

    decide(client, person)

    assert RiskCheck.objects.get().state == RiskCheckState.ANSWERED_LATE
    assert len(decisions()) == 1
    assert list(check_relay(Circumstances())) == []


def test_a_lost_time_out_event_is_a_breach(drain: Drain, person: User) -> None:
    ask(person)
    drain()
    RiskCheck.objects.update(state=RiskCheckState.TIMED_OUT, timed_out_at=timezone.now())

    [breach] = check_relay(Circumstances())

    assert "no event says so" in breach.what
