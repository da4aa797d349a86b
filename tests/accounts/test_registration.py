"""What registering does, whoever asks: page, API or command."""

import traceback
import uuid

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import check_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

import codes
from accounts import services
from accounts.models import Referral, ReferralStatus, User
from accounts.services import EmailTaken, ReferralReason
from accounts.signals import UserRegistered, user_registered
from events.models import Event
from events.outbox import PublishedOutsideTransaction
from events.receivers import background_receiver, disconnect_receiver
from tests.accounts.conftest import PASSWORD, Register, close, flag, registered_events, stored
from tests.probe.models import ProcessedEvent


def test_a_registration_stores_an_account_its_address_and_one_event(register: Register) -> None:
    registration = register(email=" Mei@Example.com ", language="zh-hans")

    user = User.objects.get()
    assert registration.user == user
    assert (user.email, user.status, user.language) == ("mei@example.com", "active", "zh-hans")
    assert user.registered_at is not None
    assert user.id.version == 7
    assert check_password(PASSWORD, user.password)
    address = EmailAddress.objects.get()
    assert (address.user, address.email) == (user, "mei@example.com")
    assert (address.primary, address.verified) == (True, False)
    assert registered_events() == [{"user_id": str(user.pk), "inviter_id": None}]


def test_a_row_that_the_database_refuses_is_not_in_the_error(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_known_language", lambda language: "tlh")
    typed = "mei@example.com"

    with pytest.raises(IntegrityError) as refusal:
        register(email=typed)

    told = "".join(traceback.format_exception(refusal.value))
    assert "user_language_known" in told
    assert typed not in told
    assert not any(stored().values())


def test_no_address_password_or_code_reaches_events_or_logs(
    register: Register, inviter: User, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="accounts"), caplog.at_level("DEBUG", logger="events"):
        register(
            email="canary@example.com",
            password="canary password",
            referral_code=inviter.referral_code,
        )

    written = caplog.text + "".join(str(row) for row in Event.objects.values())
    assert "canary" not in written
    assert inviter.referral_code not in written


def test_the_inviter_is_credited(register: Register, inviter: User) -> None:
    typed = f" {inviter.referral_code[:4]}-{inviter.referral_code[4:].lower()} "

    registration = register(referral_code=typed)

    assert (registration.referral_applied, registration.referral_reason) == (True, None)
    referral = Referral.objects.get()
    assert (referral.invitee, referral.inviter) == (registration.user, inviter)
    assert (referral.code_used, referral.status) == (inviter.referral_code, "approved")
    assert referral.decided_at == registration.user.registered_at
    assert registered_events()[-1]["inviter_id"] == str(inviter.pk)


@pytest.mark.parametrize("typed", ["", "  ", "-"])
def test_no_code_means_no_referral(register: Register, typed: str) -> None:
    registration = register(referral_code=typed)

    assert registration.referral_reason is ReferralReason.NONE_GIVEN
    assert not Referral.objects.exists()


@pytest.mark.parametrize("typed", ["23456789", "nonsense", "7" * 100_000, "\x00", "\ud800", "💥"])
def test_an_unknown_code_does_not_block(register: Register, typed: str) -> None:
    registration = register(referral_code=typed)

    assert not registration.referral_applied
    assert registration.referral_reason is ReferralReason.UNKNOWN_CODE
    assert registered_events() == [{"user_id": str(registration.user.pk), "inviter_id": None}]


def test_a_mistyped_code_is_told_without_asking_the_database(
    register: Register, inviter: User
) -> None:
    code = inviter.referral_code
    mistyped = code[:-1] + ("2" if code[-1] != "2" else "3")

    with CaptureQueriesContext(connection) as queries:
        registration = register(referral_code=mistyped)

    assert registration.referral_reason is ReferralReason.UNKNOWN_CODE
    assert not any(mistyped in query["sql"] for query in queries)


def test_a_closed_inviter_is_not_credited(register: Register, inviter: User) -> None:
    close(inviter)

    registration = register(referral_code=inviter.referral_code)

    assert registration.referral_reason is ReferralReason.INVITER_INACTIVE
    assert not Referral.objects.exists()


def test_a_locked_out_inviter_is_not_credited(register: Register, inviter: User) -> None:
    User.objects.update(is_active=False)

    registration = register(referral_code=inviter.referral_code)

    assert registration.referral_reason is ReferralReason.INVITER_INACTIVE


def test_a_flagged_inviter_s_referral_is_held(register: Register, inviter: User) -> None:
    flag(inviter)

    registration = register(referral_code=inviter.referral_code)

    assert registration.referral_applied
    referral = Referral.objects.get()
    assert (referral.status, referral.reasons) == (ReferralStatus.FLAGGED, ["inviter_flagged"])
    assert registered_events()[-1]["inviter_id"] == str(inviter.pk)


def test_nobody_invites_themselves_under_another_spelling(register: Register) -> None:
    inviter = register(email="m.ei@gmail.com").user

    registration = register(email="mei+two@googlemail.com", referral_code=inviter.referral_code)

    assert registration.referral_reason is ReferralReason.SELF_REFERRAL
    assert not Referral.objects.exists()


def test_the_code_of_whoever_asks_is_a_self_referral(register: Register, inviter: User) -> None:
    registration = register(referral_code=inviter.referral_code, caller=inviter)

    assert registration.referral_reason is ReferralReason.SELF_REFERRAL


def test_the_code_of_somebody_else_counts_for_a_logged_in_caller(
    register: Register, inviter: User
) -> None:
    caller = register().user

    assert register(referral_code=inviter.referral_code, caller=caller).referral_applied


@pytest.mark.parametrize(
    "again", ["mei@example.com", "MEI@example.com", "mei@xn--bcher-kva.example"]
)
def test_a_known_address_is_refused(register: Register, again: str) -> None:
    register(email="mei@example.com")
    register(email="mei@bücher.example")
    before = stored()

    with pytest.raises(EmailTaken):
        register(email=again)

    assert stored() == before


def test_a_confirmed_second_address_of_somebody_is_known_too(
    register: Register, inviter: User
) -> None:
    EmailAddress.objects.create(user=inviter, email="second@example.com", verified=True)

    with pytest.raises(EmailTaken):
        register(email="second@example.com")


def test_an_unconfirmed_second_address_keeps_nobody_out(register: Register, inviter: User) -> None:
    EmailAddress.objects.create(user=inviter, email="mei@example.com", verified=False)

    assert register(email="mei@example.com").user.email == "mei@example.com"


def test_everything_wrong_is_reported_at_once_and_nothing_is_stored(register: Register) -> None:
    with pytest.raises(ValidationError) as refusal:
        register(email="nobody", password="1234")

    assert {
        field: {error.code for error in errors}
        for field, errors in refusal.value.error_dict.items()
    } == {"email": {"invalid"}, "password": {"password_too_short", "password_too_common"}}
    assert not any(stored().values())


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "required"),
        ("short", "password_too_short"),
        ("password1", "password_too_common"),
        ("mei.longname", "password_too_similar"),
        ("p" * 129, "password_too_long"),
        ("p" * 3_000_000, "password_too_long"),
        ("with a \x00 inside", "invalid_characters"),
        ("\udfff is a lone one", "invalid_characters"),
        ("with a \ufffd inside", "invalid_characters"),
    ],
)
def test_passwords_are_refused_with_a_reason(register: Register, password: str, code: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        register(email="mei.longname@example.com", password=password)

    assert code in {error.code for error in refusal.value.error_dict["password"]}
    assert not any(stored().values())


@pytest.mark.parametrize(
    "password",
    [
        "p4ss" * 32,
        "  space around  ",
        "        ",
        "пароль与密码",
        "👩\u200d👩\u200d👧 family",
        "a\ttab\tinside",
    ],
)
def test_passwords_are_stored_exactly_as_typed(register: Register, password: str) -> None:
    user = register(password=password).user

    assert check_password(password, user.password)
    assert not check_password(password.strip() + "x", user.password)


@pytest.mark.parametrize("language", ["", "xx", "zh-hans-cn", "de"])
def test_a_language_we_do_not_speak_becomes_the_default(register: Register, language: str) -> None:
    assert register(language=language).user.language == "en"


def test_a_taken_referral_code_is_replaced(
    register: Register, inviter: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated = iter([inviter.referral_code, "22222229"])
    monkeypatch.setattr(codes, "generate", lambda _length: next(generated))

    user = register().user

    assert user.referral_code == "22222229"
    assert len(registered_events()) == 2


def test_a_failure_that_is_no_known_address_is_not_hidden(
    register: Register, inviter: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codes, "generate", lambda _length: inviter.referral_code)
    before = stored()

    with pytest.raises(IntegrityError):
        register()

    assert stored() == before


@pytest.mark.parametrize("step", ["EmailAddress.objects.create", "_insert_referral", "publish"])
def test_a_failure_at_any_step_leaves_nothing(
    register: Register, inviter: User, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(step)

    targets = {
        "EmailAddress.objects.create": (EmailAddress.objects, "create"),
        "_insert_referral": (services, "_insert_referral"),
        "publish": (user_registered, "publish"),
    }
    monkeypatch.setattr(*targets[step], fail)
    before = stored()

    with pytest.raises(RuntimeError, match=step):
        register(referral_code=inviter.referral_code)

    assert stored() == before


@pytest.mark.django_db(transaction=True)
def test_a_registration_needs_no_transaction_around_it() -> None:
    registration = services.register(email="mei@example.com", password=PASSWORD)

    assert User.objects.get() == registration.user


@pytest.mark.django_db(transaction=True)
def test_the_event_is_refused_outside_the_transaction() -> None:
    with pytest.raises(PublishedOutsideTransaction):
        user_registered.publish(UserRegistered(user_id=uuid.uuid4(), inviter_id=None))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("more_receivers", [0, 25])
def test_publishing_costs_at_most_two_statements_whatever_the_receivers(
    monkeypatch: pytest.MonkeyPatch, more_receivers: int
) -> None:
    names = [f"probe.extra_{number}" for number in range(more_receivers)]
    for name in names:
        background_receiver(user_registered, inbox=ProcessedEvent, name=name)(lambda event: None)
    inviter = services.register(email="inviter@example.com", password=PASSWORD).user

    try:
        with_publishing = _statements("first@example.com", inviter)
        monkeypatch.setattr(user_registered, "publish", lambda data: None)
        without_publishing = _statements("second@example.com", inviter)
    finally:
        for name in names:
            disconnect_receiver(name)

    assert len(with_publishing) - len(without_publishing) <= 2
    verbs = [sql.split()[0] for sql in without_publishing]
    assert verbs == ["INSERT", "INSERT", "SELECT", "INSERT"]  # the inviter is locked


def _statements(email: str, inviter: User) -> list[str]:
    """Return the statements between BEGIN and COMMIT of one registration."""
    with CaptureQueriesContext(connection) as captured:
        services.register(email=email, password=PASSWORD, referral_code=inviter.referral_code)
    statements = [str(query["sql"]) for query in captured]
    begin = next(i for i, sql in enumerate(statements) if sql.startswith("BEGIN"))
    return statements[begin + 1 : statements.index("COMMIT")]


@pytest.mark.django_db(transaction=True)
def test_everything_is_read_and_hashed_before_the_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed_inside: list[bool] = []

    def note_and_hash(_typed: str) -> str:
        hashed_inside.append(connection.in_atomic_block)
        return "!"

    monkeypatch.setattr(services, "make_password", note_and_hash)

    with CaptureQueriesContext(connection) as captured:
        services.register(email="mei@example.com", password=PASSWORD, referral_code="23456789")

    assert hashed_inside == [False]
    statements = [str(query["sql"]) for query in captured]
    begin = next(i for i, sql in enumerate(statements) if sql.startswith("BEGIN"))
    assert len([sql for sql in statements[:begin] if sql.startswith("SELECT")]) <= 4
    inside = statements[begin + 1 : statements.index("COMMIT")]
    assert not any(sql.startswith("SELECT") for sql in inside)


def test_a_registration_inside_another_transaction_shares_its_fate(register: Register) -> None:
    with transaction.atomic():
        register()
        transaction.set_rollback(True)

    assert not any(stored().values())
