"""Closing is final: the person disappears from the data, and what depended on them is told."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import CharField, JSONField, TextField
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.crypto import get_random_string
from knox.models import AuthToken
from pytest_django import Settings

from accounts import services
from accounts.closing import CloseReason, close_account, find_closed
from accounts.models import FormerAddress, Referral, StatusChange, User
from accounts.queries import accounts_by_id
from accounts.referrals import void_referral
from accounts.services import complete_registration
from accounts.standing import flag_account
from events.interventions import Intervention, InterventionKind, InterventionState
from events.models import Delivery, DeliveryState, ReceiverState
from tests.accounts.conftest import PASSWORD, Register
from tests.accounts.test_standing import published
from tests.parallel import run_at_once
from tests.plans import plans_of

pytestmark = pytest.mark.django_db(transaction=True)

REQUESTED, FRAUD = CloseReason.REQUESTED, CloseReason.FRAUD


@pytest.fixture
def mei(register: Register) -> User:
    """Return somebody who will close their account."""
    return register(email="mei@example.com").user


def confirm(user: User) -> None:
    """Let a person have confirmed their address."""
    EmailAddress.objects.filter(user=user).update(verified=True)


def places_that_name(words: str) -> list[str]:
    """Return every text column of every table with a row that holds these words."""
    found = []
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, CharField | TextField | JSONField):
                rows = model._base_manager.values_list(field.name, flat=True)
                if any(words in str(value).lower() for value in rows):
                    found.append(f"{model._meta.label}.{field.name}")
    return found


def test_a_closed_account_keeps_its_id_and_loses_its_person(mei: User) -> None:
    User.objects.filter(pk=mei.pk).update(is_staff=True, is_superuser=True)
    mei.groups.add(Group.objects.create(name="everything"))

    assert close_account(user_id=mei.pk, reason=REQUESTED, actor=mei.pk)

    closed = User.objects.get(pk=mei.pk)
    assert (closed.status, closed.is_active) == ("closed", False)
    assert closed.closed_at is not None
    assert closed.email == closed.email_canonical == f"closed-{mei.pk}@closed.invalid"
    assert closed.registered_at == mei.registered_at
    assert not closed.has_usable_password()
    assert not closed.is_staff
    assert not closed.is_superuser
    assert not closed.groups.exists()
    assert published("account_closed") == [
        ("account_closed", {"user_id": str(mei.pk), "reason": "requested"})
    ]
    change = StatusChange.objects.get()
    assert (change.before, change.after, change.actor) == ("active", "closed", mei)


def test_the_address_is_nowhere_afterwards(mei: User, client: Client) -> None:
    client.post("/accounts/login/", {"login": "mei@example.com", "password": PASSWORD})
    client.post("/accounts/login/", {"login": "mei@example.com", "password": "wrong"})
    EmailAddress.objects.create(user=mei, email="mei.lin@example.com", verified=True)
    flag_account(user_id=mei.pk, reason="by_staff", note="Mei@example.com wrote to us")
    LogEntry.objects.log_actions(mei.pk, [mei], CHANGE, "Set the password of MEI@example.com")
    assert "accounts.User.email" in places_that_name("mei@example.com")

    close_account(user_id=mei.pk, reason=REQUESTED)

    assert places_that_name("mei@example.com") == []
    assert places_that_name("mei.lin@") == []
    assert f"closed-{mei.pk}@" in LogEntry.objects.get().change_message
    assert (
        StatusChange.objects.order_by("pk")[0].note
        == (f"closed-{mei.pk}@closed.invalid wrote to us"[:200])
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key, value FROM cache")
        assert "mei@" not in str(cursor.fetchall())
    cache.clear()


def test_the_address_is_not_in_what_was_written_about_others_either(
    mei: User, register: Register
) -> None:
    friends = [register(referral_code=mei.referral_code).user for _ in range(2)]
    void_referral(invitee_id=friends[0].pk, reason="by_staff", note="the same as Mei@example.com")

    close_account(user_id=mei.pk, reason=FRAUD, note="mei@example.com runs a ring")

    assert places_that_name("mei@example.com") == []
    notes = StatusChange.objects.filter(user__in=friends).order_by("pk").values_list("note")
    placeholder = f"closed-{mei.pk}@closed.invalid"
    assert [note for (note,) in notes] == [
        f"the same as {placeholder}",
        f"{placeholder} runs a ring",
    ]


def test_the_address_is_not_in_the_reasons_of_those_who_run_the_machine(mei: User) -> None:
    skipped = Delivery.objects.order_by("pk")[:1]
    Delivery.objects.filter(pk__in=skipped.values("pk")).update(
        state=DeliveryState.SKIPPED,
        due_at=None,
        finished_at=timezone.now(),
        skipped_by="mei@example.com",
        skip_reason="Asked for by Mei@example.com",
    )
    receiver = ReceiverState.objects.create(
        name="points.reward",
        paused_at=timezone.now(),
        paused_by="mei@example.com",
        pause_reason="mei@example.com gets too much",
    )
    intervention = Intervention.objects.create(
        kind=InterventionKind.REPLAY,
        receiver="points.reward",
        fingerprint="f",
        size=1,
        asked_by="mei@example.com",
        reason="mei@example.com asked for it",
        decided_by="mei@example.com",
        decision="Mei@example.com asked to end it",
        state=InterventionState.GIVEN_UP,
        ended_at=timezone.now(),
    )

    close_account(user_id=mei.pk, reason=REQUESTED)

    assert places_that_name("mei@example.com") == []
    placeholder = f"closed-{mei.pk}@closed.invalid"
    delivery = Delivery.objects.get(state=DeliveryState.SKIPPED)
    receiver.refresh_from_db()
    assert delivery.skipped_by == receiver.paused_by == placeholder
    assert delivery.skip_reason == f"Asked for by {placeholder}"
    assert receiver.pause_reason == f"{placeholder} gets too much"
    intervention.refresh_from_db()
    assert intervention.asked_by == intervention.decided_by == placeholder
    assert intervention.reason == f"{placeholder} asked for it"
    assert intervention.decision == f"{placeholder} asked to end it"


def test_the_search_for_an_address_reads_no_deliveries_but_the_skipped(mei: User) -> None:
    plans = plans_of(lambda: close_account(user_id=mei.pk, reason=REQUESTED))

    (plan,) = [plan for sql, plan in plans if "skip_reason" in sql]
    assert "delivery_skipped" in plan


def test_another_person_s_longer_address_stays(mei: User) -> None:
    words = "See tom-mei@example.com, mei@example.com.au and mei@example.com."
    LogEntry.objects.log_actions(mei.pk, [mei], CHANGE, words)

    close_account(user_id=mei.pk, reason=REQUESTED)

    assert LogEntry.objects.get().change_message == (
        f"See tom-mei@example.com, mei@example.com.au and closed-{mei.pk}@closed.invalid."
    )


def test_sessions_and_tokens_end(mei: User, client: Client) -> None:
    client.post("/accounts/login/", {"login": "mei@example.com", "password": PASSWORD})
    token, _ = services.issue_token(user=mei)
    assert client.get("/wallet/").status_code == 200

    close_account(user_id=mei.pk, reason=REQUESTED)

    assert client.get("/wallet/").status_code == 302
    headers = {"authorization": f"Token {token}"}
    assert Client().get("/api/v1/me/", headers=headers).status_code == 401
    assert not AuthToken.objects.exists()


def test_no_session_holds_an_address(mei: User, client: Client) -> None:
    client.post("/accounts/login/", {"login": "mei@example.com", "password": PASSWORD})

    session = Session.objects.get().get_decoded()

    assert session["_auth_user_id"] == str(mei.pk)
    assert "mei@" not in str(session)


@pytest.mark.parametrize("is_known", [False, True])
def test_no_session_holds_an_address_that_is_to_be_confirmed(
    mei: User, mandatory: None, is_known: bool
) -> None:
    address = "mei@example.com" if is_known else "zoe@example.com"
    typed = {"email": address, "password1": PASSWORD, "referral_code": ""}
    browser, later = Client(), Client()

    browser.post("/accounts/signup/", typed)
    later.post("/accounts/login/", {"login": address, "password": PASSWORD})

    assert User.objects.filter(email=address).exists()
    sessions = [str(session.get_decoded()) for session in Session.objects.all()]
    assert not any(address in session for session in sessions)


def test_closing_again_does_nothing(mei: User) -> None:
    close_account(user_id=mei.pk, reason=REQUESTED)

    assert not close_account(user_id=mei.pk, reason=REQUESTED)

    assert len(published("account_closed")) == StatusChange.objects.count() == 1


def test_of_many_at_once_one_closes(mei: User) -> None:
    close = partial(close_account, user_id=mei.pk, reason=REQUESTED)

    assert sorted(run_at_once([close] * 12)) == [False] * 11 + [True]

    assert len(published("account_closed")) == FormerAddress.objects.count() == 1


@pytest.mark.parametrize("spelled", ["mei@example.com", "MEI@Example.com"])
def test_signing_up_again_is_allowed_and_known(mei: User, register: Register, spelled: str) -> None:
    close_account(user_id=mei.pk, reason=REQUESTED)

    again = register(email=spelled).user

    assert again.email == "mei@example.com"
    accounts = accounts_by_id([mei.pk, again.pk])
    assert accounts[again.pk].is_returning
    assert not accounts[mei.pk].is_returning


def test_another_spelling_of_a_confirmed_mailbox_is_known_to_return(register: Register) -> None:
    first = register(email="m.ei+shop@gmail.com").user
    confirm(first)
    close_account(user_id=first.pk, reason=REQUESTED)

    assert register(email="mei@googlemail.com").user.is_returning
    assert not register(email="mei@example.com").user.is_returning


def test_nobody_makes_another_person_return_by_closing_a_spelling_of_their_address(
    register: Register,
) -> None:
    stranger = register(email="mei+1@gmail.com").user
    close_account(user_id=stranger.pk, reason=REQUESTED)

    assert not register(email="mei@gmail.com").user.is_returning
    assert register(email="mei+1@gmail.com").user.is_returning


def test_a_confirmed_second_address_is_known_and_an_unconfirmed_is_not(
    mei: User, register: Register
) -> None:
    EmailAddress.objects.create(user=mei, email="own@example.com", verified=True)
    EmailAddress.objects.create(user=mei, email="victim@example.com", verified=False)

    close_account(user_id=mei.pk, reason=REQUESTED)

    assert register(email="own@example.com").user.is_returning
    assert not register(email="victim@example.com").user.is_returning


def test_a_sign_up_that_waited_while_the_account_was_closed_is_known_to_return(
    register: Register, mandatory: None
) -> None:
    first, second = (register(email=f"mei+{n}@gmail.com").user for n in range(2))
    confirm(first)
    complete_registration(user_id=first.pk)
    close_account(user_id=first.pk, reason=REQUESTED)

    complete_registration(user_id=second.pk)

    assert accounts_by_id([second.pk])[second.pk].is_returning


def test_a_former_address_is_known_after_the_key_was_replaced(
    mei: User, register: Register, settings: Settings
) -> None:
    close_account(user_id=mei.pk, reason=REQUESTED)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = get_random_string(50)

    assert find_closed("mei@example.com") == mei
    assert register(email="mei@example.com").user.is_returning


def test_a_former_address_cannot_be_told_from_what_is_stored(mei: User) -> None:
    confirm(mei)

    close_account(user_id=mei.pk, reason=REQUESTED)

    row = FormerAddress.objects.get()
    assert len(row.address_digest) == len(row.person_digest) == 64
    assert row.address_digest != row.person_digest
    assert find_closed("tom@example.com") is None


def test_the_placeholder_of_an_account_can_be_nobody_s_address(
    mei: User, register: Register
) -> None:
    with pytest.raises(ValidationError, match="valid e-mail address"):
        register(email=f"closed-{mei.pk}@closed.invalid")


@pytest.fixture
def family(mei: User, register: Register, inviter: User) -> dict[str, User]:
    """Return a person who was invited, and whom they invited."""
    middle = register(referral_code=inviter.referral_code).user
    last = register(referral_code=middle.referral_code).user
    return {"first": inviter, "middle": middle, "last": last}


def statuses() -> dict[Any, str]:
    return dict(Referral.objects.values_list("pk", "status"))


def test_an_ordinary_end_leaves_the_referrals(family: dict[str, User]) -> None:
    close_account(user_id=family["middle"].pk, reason=REQUESTED)

    assert statuses() == {family["middle"].pk: "approved", family["last"].pk: "approved"}
    assert published("referral_voided") == []


def test_a_fraud_s_referrals_are_void_both_ways(family: dict[str, User]) -> None:
    # How the inviter of a fraud stands is no matter.
    flag_account(user_id=family["first"].pk, reason="by_staff")

    close_account(user_id=family["middle"].pk, reason=FRAUD)

    assert set(statuses().values()) == {"voided"}
    voided = [data for _, data in published("referral_voided")]
    assert [(data["invitee_id"], data["reason"]) for data in voided] == [
        (str(family["middle"].pk), "fraud"),
        (str(family["last"].pk), "fraud"),
    ]


def test_a_fraud_with_many_invited_people_costs_as_many_queries(
    inviter: User, register: Register
) -> None:
    costs = []
    for number in (1, 15):
        fraud = register().user
        for _ in range(number):
            register(referral_code=fraud.referral_code)
        with CaptureQueriesContext(connection) as captured:
            close_account(user_id=fraud.pk, reason=FRAUD)
        costs.append(len(captured))

    assert costs[0] == costs[1]
    assert set(statuses().values()) == {"voided"}


def test_sign_ups_while_a_fraud_is_closed_are_all_void(
    inviter: User,
) -> None:
    register: list[Callable[[], object]] = [
        partial(
            services.register,
            email=f"friend{n}@example.com",
            password=PASSWORD,
            referral_code=inviter.referral_code,
        )
        for n in range(8)
    ]
    register.append(partial(close_account, user_id=inviter.pk, reason=FRAUD))

    run_at_once(register)

    assert set(statuses().values()) <= {"voided"}
    assert User.objects.count() == 9


def test_a_confirmation_and_a_fraud_s_end_at_once_do_not_lock_each_other(
    inviter: User, register: Register, mandatory: None
) -> None:
    complete_registration(user_id=inviter.pk)
    waiting = [register(referral_code=inviter.referral_code).user for _ in range(8)]
    complete: list[Callable[[], object]] = [
        partial(complete_registration, user_id=user.pk) for user in waiting
    ]
    complete.append(partial(close_account, user_id=inviter.pk, reason=FRAUD))

    run_at_once(complete)

    assert set(statuses().values()) == {"voided"}
