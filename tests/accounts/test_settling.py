"""Referrals follow how an account stands, a chunk at a time."""

from functools import partial

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import settling
from accounts.closing import CloseReason, close_account
from accounts.models import ProcessedEvent, Referral, StatusChange, User
from accounts.signals import referral_voided
from accounts.standing import clear_account, flag_account
from events.models import Delivery, DeliveryState
from tests.accounts.conftest import PASSWORD, Register
from tests.accounts.test_reviewing import ACCOUNTS, act
from tests.accounts.test_standing import published, status_of
from tests.conftest import Drain
from tests.invariants import broken
from tests.parallel import run_at_once
from tests.registrations import make_people, refer

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "accounts.settle_referrals"
REQUESTED, FRAUD = CloseReason.REQUESTED, CloseReason.FRAUD


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "CHUNK", 2)


@pytest.fixture
def ring(inviter: User) -> User:
    """Return somebody who invited more people than a chunk holds."""
    for person in make_people(5):
        refer(person, inviter)
    return inviter


def statuses() -> list[str]:
    return list(Referral.objects.order_by("pk").values_list("status", flat=True))


def put_back() -> None:
    """Make the receiver's deliveries due again, as a replay or a retry does."""
    Delivery.objects.filter(receiver=RECEIVER).update(
        state=DeliveryState.PENDING, due_at=Now(), finished_at=None
    )


def crash(*args: object, **kwargs: object) -> None:
    """Fail after everything was written."""
    raise RuntimeError("crashed at the last moment")


def hold(inviter: User, register: Register, number: int) -> list[User]:
    """Flag somebody, and let people register through their link."""
    flag_account(user_id=inviter.pk, reason="by_staff")
    return [register(referral_code=inviter.referral_code).user for _ in range(number)]


def test_once(drain: Drain, ring: User) -> None:
    close_account(user_id=ring.pk, reason=FRAUD, note="a ring")
    assert statuses() == ["voided"] * 2 + ["approved"] * 3
    assert "I13" not in broken()

    drain()

    assert statuses() == ["voided"] * 5
    assert len(published("referral_voided")) == 5
    assert len(published("referral_settlement_requested")) == 2
    history = StatusChange.objects.filter(subject="referral").values_list("reason", "note")
    assert list(history) == [("fraud", "a ring")] * 5
    assert broken("--at-rest").get("I13") is None


@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(drain: Drain, ring: User, inbox_is_lost: bool) -> None:
    close_account(user_id=ring.pk, reason=FRAUD)
    drain()
    put_back()
    if inbox_is_lost:
        ProcessedEvent.objects.all().delete()

    drain()

    assert statuses() == ["voided"] * 5
    assert len(published("referral_voided")) == 5


def test_crash_then_retry(drain: Drain, ring: User, monkeypatch: pytest.MonkeyPatch) -> None:
    close_account(user_id=ring.pk, reason=FRAUD)

    with monkeypatch.context() as crashing:
        crashing.setattr(referral_voided, "publish_many", crash)
        drain()
    assert statuses() == ["voided"] * 2 + ["approved"] * 3
    put_back()
    drain()

    assert statuses() == ["voided"] * 5
    assert len(published("referral_voided")) == 5


def test_a_chunk_costs_the_same_however_many_people_there_are(register: Register) -> None:
    costs = []
    for number in (3, 30):
        fraud = register().user
        for person in make_people(number):
            refer(person, fraud)
        with CaptureQueriesContext(connection) as captured:
            close_account(user_id=fraud.pk, reason=FRAUD)
        costs.append(len(captured))

    assert costs[0] == costs[1]


def test_clearing_releases_what_waited_chunk_by_chunk(
    drain: Drain, inviter: User, register: Register
) -> None:
    people = hold(inviter, register, 5)
    both = Referral.objects.filter(pk=people[4].pk)
    both.update(reasons=["inviter_flagged", "same_person"])

    clear_account(user_id=inviter.pk, reason="by_staff")
    assert statuses() == ["approved"] * 2 + ["flagged"] * 3
    assert "I13" not in broken()
    drain()

    assert statuses() == ["approved"] * 4 + ["flagged"]
    assert both.get().reasons == ["same_person"]
    assert len(published("referral_approved")) == 4
    assert broken("--at-rest").get("I13") is None


def test_what_was_held_goes_on_waiting_for_an_inviter_who_is_flagged_again(
    drain: Drain, inviter: User, register: Register
) -> None:
    hold(inviter, register, 3)
    clear_account(user_id=inviter.pk, reason="by_staff")
    flag_account(user_id=inviter.pk, reason="by_staff")

    drain()

    assert statuses() == ["approved"] * 2 + ["flagged"]


def test_what_waits_for_an_inviter_who_leaves_under_review_is_void(
    drain: Drain, inviter: User, register: Register
) -> None:
    before = register(referral_code=inviter.referral_code).user
    hold(inviter, register, 3)

    close_account(user_id=inviter.pk, reason=REQUESTED)
    drain()

    assert statuses() == ["approved"] + ["voided"] * 3
    reasons = {data["reason"] for _, data in published("referral_voided")}
    assert reasons == {"inviter_inactive"}
    assert Referral.objects.get(pk=before.pk).status == "approved"
    assert broken("--at-rest").get("I13") is None


def test_what_is_not_yet_released_when_a_cleared_inviter_leaves_is_released(
    drain: Drain, inviter: User, register: Register
) -> None:
    hold(inviter, register, 5)
    clear_account(user_id=inviter.pk, reason="by_staff")

    close_account(user_id=inviter.pk, reason=REQUESTED)
    drain()

    assert statuses() == ["approved"] * 5


def test_what_another_reason_holds_outlives_its_inviter(
    drain: Drain, inviter: User, register: Register
) -> None:
    register(referral_code=inviter.referral_code, email="mei@mailinator.com")

    close_account(user_id=inviter.pk, reason=REQUESTED)
    drain()

    assert statuses() == ["flagged"]


def test_a_fraud_who_left_first_gains_nothing(drain: Drain, ring: User, register: Register) -> None:
    staff = register().user
    close_account(user_id=ring.pk, reason=REQUESTED)

    assert close_account(user_id=ring.pk, reason=FRAUD, actor=staff.pk, note="a ring")
    assert "I13" not in broken()
    drain()

    assert statuses() == ["voided"] * 5
    assert len(published("account_closed")) == 1
    change = StatusChange.objects.get(user=ring, reason="fraud")
    assert (change.before, change.after) == ("closed", "closed")
    assert (change.actor, change.note) == (staff, "a ring")
    assert broken("--at-rest").get("I13") is None


def test_the_referral_of_a_fraud_who_left_first_is_void(
    drain: Drain, inviter: User, register: Register
) -> None:
    puppet = register(referral_code=inviter.referral_code).user
    close_account(user_id=puppet.pk, reason=REQUESTED)

    close_account(user_id=puppet.pk, reason=FRAUD)
    drain()

    assert statuses() == ["voided"]


def test_a_fraud_is_found_once(inviter: User) -> None:
    close_account(user_id=inviter.pk, reason=REQUESTED)
    condemn = partial(close_account, user_id=inviter.pk, reason=FRAUD)

    assert sorted(run_at_once([condemn] * 8)) == [False] * 7 + [True]

    assert StatusChange.objects.count() == 2
    assert not close_account(user_id=inviter.pk, reason=REQUESTED)


def test_staff_are_told_whether_a_fraud_was_found(drain: Drain, client: Client, ring: User) -> None:
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))
    close_account(user_id=ring.pk, reason=REQUESTED)

    first, second = (
        act(client, ACCOUNTS, "close_as_fraud", ring).content.decode() for _ in range(2)
    )
    drain()

    assert "1 changed." in first
    assert "1 was so already." in second
    assert status_of(ring) == "closed"
    assert statuses() == ["voided"] * 5


def test_a_fraud_whose_referrals_count_is_told(drain: Drain, ring: User) -> None:
    close_account(user_id=ring.pk, reason=FRAUD)
    drain()

    Referral.objects.filter(pk=Referral.objects.order_by("pk")[0].pk).update(status="approved")

    assert broken()["I13"] == ["referrals of or by a fraud count"]


def test_a_referral_that_waits_for_nobody_is_told(inviter: User, register: Register) -> None:
    hold(inviter, register, 1)
    assert broken() == {}

    User.objects.filter(pk=inviter.pk).update(status="active")

    assert "referrals wait for an inviter who is not under review" in broken()["I13"]
