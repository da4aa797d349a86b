"""What is noticed about a sign-up holds the reward back; what somebody decides is applied."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import services
from accounts.closing import CloseReason, close_account
from accounts.models import ProcessedEvent, Referral, RiskSignal, StatusChange, User
from accounts.services import complete_registration
from accounts.signals import RiskDecided, account_flagged, risk_decided
from accounts.standing import flag_account
from events.models import Delivery, DeliveryState
from tests.accounts.conftest import PASSWORD, Register
from tests.accounts.test_standing import published, status_of
from tests.conftest import Drain

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "accounts.apply_risk_decision"


def noticed(user: User) -> dict[str, int]:
    """Return the signals of a person, with their weights."""
    return dict(RiskSignal.objects.filter(user=user).values_list("kind", "weight"))


def requested() -> list[dict[str, Any]]:
    """Return the data of all requests for a check."""
    return [data for _, data in published("risk_check_requested")]


@pytest.fixture
def invite(register: Register, inviter: User) -> Callable[..., Referral]:
    """Return a function that registers somebody through the inviter's link."""

    def run(**given: object) -> Referral:
        registration = register(referral_code=inviter.referral_code, **given)
        assert registration.referral_applied
        return Referral.objects.get(pk=registration.user.pk)

    return run


def test_an_ordinary_sign_up_shows_nothing(invite: Callable[..., Referral]) -> None:
    referral = invite(client="192.0.2.7")

    assert (referral.status, referral.reasons) == ("approved", [])
    assert noticed(referral.invitee) == {"shared_address": 0}
    assert requested() == []


def test_the_same_mailbox_through_the_same_inviter_is_noticed(
    invite: Callable[..., Referral],
) -> None:
    first = invite(email="mei@gmail.com")

    second = invite(email="m.ei+again@googlemail.com")

    assert first.status == "approved"
    assert (second.status, second.reasons) == ("flagged", ["same_person"])
    assert noticed(second.invitee) == {"same_person": 80}
    assert requested() == [{"user_id": str(second.pk), "signals": ["same_person"]}]


def test_the_same_mailbox_after_its_account_was_closed_is_noticed(
    invite: Callable[..., Referral],
) -> None:
    first = invite(email="mei@example.com")
    close_account(user_id=first.pk, reason=CloseReason.REQUESTED)

    assert invite(email="mei@example.com").reasons == ["same_person"]


@pytest.mark.parametrize("address", ["mei+shop@example.com", "m.ei@example.com"])
def test_where_the_provider_tells_spellings_apart_they_are_other_people(
    invite: Callable[..., Referral], address: str
) -> None:
    invite(email="mei@example.com")

    assert invite(email=address).status == "approved"


def test_the_same_mailbox_through_another_inviter_is_nobody_s_gain_twice(
    invite: Callable[..., Referral], register: Register
) -> None:
    invite(email="mei@gmail.com")
    other = register().user

    again = register(email="m.ei@gmail.com", referral_code=other.referral_code).user

    assert Referral.objects.get(pk=again.pk).status == "approved"


@pytest.mark.parametrize("domain", ["mailinator.com", "sub.mailinator.com"])
def test_an_address_to_throw_away_is_noticed_with_and_without_an_inviter(
    invite: Callable[..., Referral], register: Register, domain: str
) -> None:
    referral = invite(email=f"mei@{domain}")
    alone = register(email=f"tom@{domain}").user

    assert (referral.status, referral.reasons) == ("flagged", ["disposable_domain"])
    assert [data["user_id"] for data in requested()] == [str(referral.pk), str(alone.pk)]


def test_a_burst_of_one_inviter_is_noticed_and_passes(
    invite: Callable[..., Referral], settings: Settings
) -> None:
    settings.RISK_INVITER_BURST = 2
    settings.RISK_INVITER_BURST_WINDOW_S = 60

    statuses = [invite().status for _ in range(3)]
    Referral.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    later = invite().status

    assert (statuses, later) == (["approved", "approved", "flagged"], "approved")


def test_a_shared_network_address_is_noticed_and_holds_nothing(
    invite: Callable[..., Referral], settings: Settings
) -> None:
    settings.RISK_SHARED_ADDRESS = 2

    referrals = [invite(client="192.0.2.7") for _ in range(3)]
    elsewhere = invite(client="192.0.2.8")

    assert [noticed(r.invitee)["shared_address"] for r in referrals] == [0, 0, 10]
    assert noticed(elsewhere.invitee) == {"shared_address": 0}
    assert {r.status for r in referrals} == {"approved"}
    assert requested() == []


def test_a_shared_network_address_is_told_beside_what_holds(
    invite: Callable[..., Referral], settings: Settings
) -> None:
    settings.RISK_SHARED_ADDRESS = 1
    invite(client="192.0.2.7")

    referral = invite(client="192.0.2.7", email="mei@mailinator.com")

    assert referral.reasons == ["disposable_domain", "shared_address"]


def test_network_addresses_are_kept_hashed_and_for_a_while(
    invite: Callable[..., Referral], settings: Settings
) -> None:
    settings.RISK_SHARED_ADDRESS = 1
    settings.RISK_SHARED_ADDRESS_WINDOW_S = 60
    invite(client="192.0.2.7")
    assert "192.0.2.7" not in str(RiskSignal.objects.values().get())
    RiskSignal.objects.update(expires_at=timezone.now())

    later = invite(client="192.0.2.7")
    call_command("clear_risk_signals", stdout=StringIO())

    assert noticed(later.invitee) == {"shared_address": 0}
    assert RiskSignal.objects.get().user == later.invitee


def test_expired_signals_are_counted_first_and_deleted_then(
    invite: Callable[..., Referral], settings: Settings
) -> None:
    settings.RISK_SHARED_ADDRESS_WINDOW_S = 60
    for number in (7, 8):
        invite(client=f"192.0.2.{number}")
    invite(client="192.0.2.9")
    RiskSignal.objects.filter(pk__lt=RiskSignal.objects.latest("pk").pk).update(
        expires_at=timezone.now()
    )

    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("clear_risk_signals", *arguments, stdout=out)
        return out.getvalue()

    assert json.loads(run("--dry-run", "--json")) == {"dry_run": True, "signals": 2}
    assert run("--dry-run") == "2 expired risk signals would be deleted. Nothing was written.\n"
    assert RiskSignal.objects.count() == 3
    assert json.loads(run("--json")) == {"dry_run": False, "signals": 2}
    assert run() == "0 expired risk signals deleted.\n"
    assert RiskSignal.objects.count() == 1


def test_the_network_address_is_that_of_the_client(
    api_client: APIClient, settings: Settings
) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.1"]
    for number, hop in enumerate(["2001:db8::1", "2001:db8::2", "192.0.2.7"]):
        body = {"email": f"person{number}@example.com", "password": PASSWORD}
        api_client.post(
            "/api/v1/registrations/",
            body,
            headers={"x-forwarded-for": hop},
            REMOTE_ADDR="10.0.0.1",
        )

    first, second, third = RiskSignal.objects.order_by("pk").values_list("digest", flat=True)
    assert first == second != third


def test_what_is_noticed_costs_the_same_however_long_the_history(
    invite: Callable[..., Referral], settings: Settings
) -> None:
    settings.RISK_INVITER_BURST = 3
    costs = []
    for number in range(8):
        with CaptureQueriesContext(connection) as captured:
            invite(client="192.0.2.7", email=f"mei+{number}@gmail.com")
        costs.append(len(captured))

    assert max(costs[2:]) == min(costs[2:])
    assert max(costs) <= 24, costs


def test_a_sign_up_that_waits_for_its_address_is_judged_when_it_is_complete(
    invite: Callable[..., Referral], inviter: User, mandatory: None
) -> None:
    complete_registration(user_id=inviter.pk)
    referral = invite(email="mei@mailinator.com")
    assert (referral.status, requested()) == ("pending", [])

    complete_registration(user_id=referral.pk)

    referral.refresh_from_db()
    assert (referral.status, referral.reasons) == ("flagged", ["disposable_domain"])
    assert requested() == [{"user_id": str(referral.pk), "signals": ["disposable_domain"]}]


def decide(user_id: object, decision: str, reason: str = "in their words") -> None:
    """Publish a decision, as an answer from elsewhere does."""
    with transaction.atomic():
        risk_decided.publish(
            RiskDecided(user_id=user_id, decision=decision, reason=reason)  # type: ignore[arg-type]
        )


def put_back() -> None:
    """Make the receiver's deliveries due again, as a replay or a retry does."""
    Delivery.objects.filter(receiver=RECEIVER).update(
        state=DeliveryState.PENDING, due_at=Now(), finished_at=None
    )


def test_once(drain: Drain, inviter: User) -> None:
    decide(inviter.pk, "flag")

    drain()

    assert status_of(inviter) == "flagged"
    change = StatusChange.objects.get()
    assert (change.reason, change.note, change.actor) == ("risk_check", "in their words", None)
    assert Delivery.objects.get(receiver=RECEIVER).state == DeliveryState.DONE
    assert published("account_flagged")[0][1]["reason"] == "risk_check"


@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(drain: Drain, inviter: User, inbox_is_lost: bool) -> None:
    decide(inviter.pk, "flag")
    drain()
    put_back()
    if inbox_is_lost:
        ProcessedEvent.objects.all().delete()

    drain()

    assert len(published("account_flagged")) == StatusChange.objects.count() == 1


def test_crash_then_retry(drain: Drain, inviter: User, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(inviter.pk, "flag")

    with monkeypatch.context() as crashing:
        crashing.setattr(account_flagged, "publish", crash)
        drain()
    assert status_of(inviter) == "active"
    put_back()
    drain()

    assert status_of(inviter) == "flagged"
    assert len(published("account_flagged")) == StatusChange.objects.count() == 1


def crash(*args: object, **kwargs: object) -> None:
    """Fail in the middle."""
    raise RuntimeError("crashed at the last moment")


def test_clearing_somebody_approves_what_risk_alone_held(
    drain: Drain, invite: Callable[..., Referral], inviter: User
) -> None:
    referral = invite(email="mei@mailinator.com")
    flag_account(user_id=inviter.pk, reason="by_staff")
    both = invite(email="tom@mailinator.com")

    for user_id in (referral.pk, both.pk):
        decide(user_id, "clear")
    drain()

    assert Referral.objects.get(pk=referral.pk).status == "approved"
    left = Referral.objects.get(pk=both.pk)
    assert (left.status, left.reasons) == ("flagged", ["inviter_flagged"])
    assert [data["invitee_id"] for _, data in published("referral_approved")] == [str(referral.pk)]


def test_flagging_somebody_leaves_a_held_referral_to_its_review(
    drain: Drain, invite: Callable[..., Referral]
) -> None:
    referral = invite(email="mei@mailinator.com")

    decide(referral.pk, "flag")
    drain()

    referral.refresh_from_db()
    assert (referral.status, referral.reasons) == ("flagged", ["disposable_domain"])


def test_clearing_takes_an_account_out_of_review(drain: Drain, inviter: User) -> None:
    decide(inviter.pk, "flag")
    decide(inviter.pk, "clear")
    decide(inviter.pk, "clear")

    drain()

    assert status_of(inviter) == "active"
    assert len(published("account_cleared")) == 1


def test_clearing_leaves_what_a_person_flagged(
    drain: Drain, invite: Callable[..., Referral], inviter: User
) -> None:
    referral = invite(email="mei@mailinator.com")
    decide(referral.pk, "flag")
    decide(referral.pk, "clear")
    drain()
    flag_account(user_id=referral.pk, reason="by_staff", actor=inviter.pk, note="chargeback")

    decide(referral.pk, "clear", "the sign-up is in order")
    drain()

    assert status_of(referral.invitee) == "flagged"
    referral.refresh_from_db()
    assert referral.status == "approved"  # risk alone held it


@pytest.mark.parametrize("decision", ["flag", "clear"])
def test_about_a_closed_or_unknown_account_nothing_is_done(
    drain: Drain, inviter: User, decision: str
) -> None:
    close_account(user_id=inviter.pk, reason=CloseReason.REQUESTED)
    for user_id in (inviter.pk, uuid4()):
        decide(user_id, decision)

    drain()

    deliveries = Delivery.objects.filter(receiver=RECEIVER)
    assert {delivery.state for delivery in deliveries} == {DeliveryState.DONE}
    assert ProcessedEvent.objects.count() == 2
    assert StatusChange.objects.count() == 1  # that it was closed


def test_a_decision_that_is_none_is_dead_at_once(drain: Drain, inviter: User) -> None:
    decide(inviter.pk, "maybe")

    drain()

    delivery = Delivery.objects.get(receiver=RECEIVER)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DEAD, 1)
    assert "'clear', 'flag'" in delivery.last_error


def test_a_registration_is_never_blocked(register: Register, settings: Settings) -> None:
    settings.RISK_SHARED_ADDRESS = 1
    settings.RISK_INVITER_BURST = 1
    inviter = register(client="192.0.2.7").user

    registrations = [
        services.register(
            email=f"mei+{n}@gmail.com",
            password=PASSWORD,
            referral_code=inviter.referral_code,
            client="192.0.2.7",
        )
        for n in range(3)
    ]

    assert all(r.referral_applied for r in registrations)
    assert [Referral.objects.get(pk=r.user.pk).status for r in registrations] == [
        "approved",
        "flagged",
        "flagged",
    ]
