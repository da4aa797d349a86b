"""I1 and I2: what clients were told, what was published, and how a breach of it is told."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from knox.models import AuthToken

from accounts.closing import CloseReason, close_account
from accounts.invariants import LOOKED_UP_AT_ONCE
from accounts.models import Referral, User
from accounts.services import complete_registration
from accounts.signals import UserRegistered, user_registered
from accounts.standing import clear_account, flag_account
from tests.accounts.conftest import Register, flag
from tests.coupons.factories import publish_registration
from tests.invariants import broken, check

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def history(tmp_path: Path) -> Any:
    """Return a function that writes a history and checks it; it returns what I1 says."""

    def run(*lines: dict[str, Any]) -> list[str]:
        path = tmp_path / "h.jsonl"
        path.write_text("".join(json.dumps({"t": 1.5, **line}) + "\n" for line in lines))
        return broken("--history", str(path)).get("I1", [])

    return run


def test_without_a_history_answers_are_not_checked() -> None:
    (finding,) = (i for i in check()["invariants"] if i["id"] == "I1")

    assert finding["checked"] is False


def test_what_was_answered_is_there(history: Any, register: Register) -> None:
    user = register(email="mei@example.com").user

    assert (
        history(
            {"type": "invoke", "email": "Mei@Example.com ", "referral_code": "X"},
            {"type": "ok", "email": "Mei@Example.com ", "id": str(user.pk)},
            {"type": "invoke", "email": "nobody@example.com"},
            {"type": "fail", "email": "nobody@example.com", "idempotency_key": "k"},
        )
        == []
    )


def test_a_lost_sign_up_is_told(history: Any) -> None:
    said = history({"type": "ok", "email": "mei@example.com"})

    assert said == ["addresses were told of their sign-up, but have no account"]


def test_a_sign_up_that_was_refused_and_made_is_told(history: Any, register: Register) -> None:
    register(email="mei@example.com")

    said = history(
        {"type": "invoke", "email": "mei@example.com"}, {"type": "fail", "email": "mei@example.com"}
    )

    assert said == ["addresses were refused, but have an account"]


@pytest.mark.parametrize(
    "before",
    [
        [{"type": "info", "email": "mei@example.com"}],
        [{"type": "ok", "email": "mei@example.com"}],
        [{"type": "invoke", "email": "mei@example.com"}] * 2,  # one was never answered
    ],
)
def test_a_refusal_after_another_request_tells_nothing(
    before: list[dict[str, str]], history: Any, register: Register
) -> None:
    register(email="mei@example.com")

    assert history(*before, {"type": "fail", "email": "mei@example.com"}) == []


def test_an_unknown_outcome_may_be_either(history: Any, register: Register) -> None:
    register(email="mei@example.com")

    assert (
        history(
            {"type": "info", "email": "mei@example.com"},
            {"type": "info", "email": "tom@example.com"},
        )
        == []
    )


def test_another_id_than_the_account_has_is_told(history: Any, register: Register) -> None:
    register(email="mei@example.com")

    said = history({"type": "ok", "email": "mei@example.com", "id": str(uuid4())})

    assert said == ["addresses were told another id than their account has"]


@pytest.mark.parametrize("kind", ["ok", "info"])
def test_half_a_sign_up_is_told(kind: str, history: Any, register: Register) -> None:
    register(email="mei@example.com")
    EmailAddress.objects.all().delete()

    said = history({"type": kind, "email": "mei@example.com"})

    assert said == ["addresses have an account that is not complete"]


def test_a_sign_up_that_waits_for_its_address_is_complete(
    history: Any, register: Register, mandatory: None
) -> None:
    register(email="mei@example.com")

    assert history({"type": "ok", "email": "mei@example.com"}) == []


def test_many_addresses_are_looked_up_together(history: Any) -> None:
    lines = [{"type": "fail", "email": f"nobody{n}@example.com"} for n in range(1000)]

    with CaptureQueriesContext(connection) as for_one:
        assert history(*lines[:1]) == []
    with CaptureQueriesContext(connection) as for_all:
        assert history(*lines) == []

    # Present addresses and former ones.
    assert len(for_all) - len(for_one) == 2 * (1000 // LOOKED_UP_AT_ONCE - 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "Line 2 of the history is not JSON"),
        ("[]", "Line 2 of the history is no JSON object"),
        ('{"type": "okay", "email": "a@example.com"}', "Line 2: the type is none of"),
        ('{"type": "ok"}', "Line 2 names no e-mail address"),
        ('{"type": "ok", "email": "a@example.com", "id": 7}', "Line 2: the id is no text"),
    ],
)
def test_a_malformed_line_is_wrong_usage(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"type": "info", "email": "a@example.com"}\n' + line + "\n")

    with pytest.raises(CommandError, match=said) as refusal:
        call_command("check_invariants", "--history", str(path))

    assert refusal.value.returncode == 2


def test_a_history_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read") as refusal:
        call_command("check_invariants", "--history", str(tmp_path / "none.jsonl"))

    assert refusal.value.returncode == 2


def test_staff_and_who_is_not_confirmed_have_no_event(register: Register, mandatory: None) -> None:
    User.objects.create_superuser("staff@example.com", "a long enough one")
    register()
    complete_registration(user_id=register().user.pk)

    assert broken() == {}


def test_a_registration_that_was_not_published_is_told() -> None:
    User.objects.create_user("mei@example.com", "a long enough one")
    User.objects.update(registered_at=Now())

    assert broken() == {"I2": ["registered accounts have no user_registered event"]}


def test_a_registration_that_was_published_twice_is_told(register: Register) -> None:
    publish_registration(register().user)

    assert broken() == {"I2": ["accounts have several user_registered events"]}


@pytest.mark.parametrize("who", ["nobody", "staff"])
def test_a_registration_of_no_one_is_told(who: str) -> None:
    staff = User.objects.create_user("staff@example.com", "a long enough one")
    user_id = staff.pk if who == "staff" else uuid4()
    with transaction.atomic():
        user_registered.publish(UserRegistered(user_id=user_id, inviter_id=None))

    assert broken() == {"I2": ["user_registered events name no registered account"]}


def test_what_was_answered_to_who_has_left_since_is_there(history: Any, register: Register) -> None:
    first = register(email="mei@example.com").user
    close_account(user_id=first.pk, reason=CloseReason.REQUESTED)
    told = {"type": "ok", "email": "Mei@example.com", "id": str(first.pk)}
    assert history(told) == []

    second = register(email="mei@example.com").user

    assert history(told, {**told, "id": str(second.pk)}) == []
    assert history({**told, "id": str(uuid4())}) != []


def test_a_life_is_sound(register: Register) -> None:
    inviter = register().user
    flag_account(user_id=inviter.pk, reason="by_staff")
    register(referral_code=inviter.referral_code)
    clear_account(user_id=inviter.pk, reason="by_staff")
    register(referral_code=inviter.referral_code, email="mei@mailinator.com")
    assert broken() == {}

    close_account(user_id=inviter.pk, reason=CloseReason.FRAUD)

    assert broken() == {}


def test_what_closing_left_behind_is_told(register: Register) -> None:
    user = register(email="mei@example.com").user
    close_account(user_id=user.pk, reason=CloseReason.REQUESTED)
    EmailAddress.objects.create(user=user, email="mei@example.com")
    AuthToken.objects.create(user=user)

    assert broken()["I13"] == [
        "closed accounts still have an e-mail address",
        "closed accounts still have API tokens",
    ]


def test_a_status_without_its_history_is_told(register: Register) -> None:
    flag(register().user)

    assert broken()["I13"] == ["accounts have another status than the last change of it says"]


def test_referrals_that_nobody_decided_or_that_a_fraud_gains_by_are_told(
    register: Register,
) -> None:
    inviter = register().user
    invitees = [register(referral_code=inviter.referral_code).user for _ in range(2)]
    close_account(user_id=inviter.pk, reason=CloseReason.FRAUD)
    states: list[dict[str, Any]] = [
        {"status": "pending", "decided_at": None},
        {"status": "approved"},
    ]
    for invitee, columns in zip(invitees, states, strict=True):
        Referral.objects.filter(pk=invitee.pk).update(**columns)

    assert broken()["I13"] == [
        "referrals of registered people are not decided",
        "referrals of or by a fraud count",
    ]
