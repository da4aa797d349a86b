"""What the database itself refuses, and accounts that are made at a terminal."""

import uuid
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.test import Client
from django.utils import timezone

import codes
from accounts.models import Referral, User
from events.models import Event
from tests.accounts.conftest import PASSWORD, Register

pytestmark = pytest.mark.django_db


def refused(user: User, **columns: Any) -> bool:
    """Tell whether the database refuses these columns."""
    try:
        with transaction.atomic():
            User.objects.filter(pk=user.pk).update(**columns)
    except IntegrityError:
        return True
    return False


@pytest.mark.parametrize(
    "columns",
    [
        {"email": "Inviter@example.com"},
        {"status": "unknown"},
        {"language": "tlh"},
        {"language": ""},
        {"status": "closed"},
        {"status": "closed", "closed_at": timezone.now()},
        {"status": "closed", "is_active": False},
        {"status": "active", "closed_at": timezone.now()},
        {"status": "flagged", "closed_at": timezone.now(), "is_active": False},
    ],
)
def test_an_account_is_consistent(inviter: User, columns: dict[str, Any]) -> None:
    assert refused(inviter, **columns)


def test_a_closed_account_has_its_time_and_cannot_log_in(inviter: User) -> None:
    assert not refused(inviter, status="closed", closed_at=timezone.now(), is_active=False)


@pytest.mark.parametrize("column", ["email", "referral_code"])
def test_addresses_and_codes_are_unique(inviter: User, register: Register, column: str) -> None:
    assert refused(register().user, **{column: getattr(inviter, column)})


def test_canonical_addresses_are_not_unique(register: Register) -> None:
    first = register(email="mei@gmail.com").user
    second = register(email="m.ei@gmail.com").user

    assert first.email_canonical == second.email_canonical == "mei@gmail.com"


@pytest.mark.parametrize(
    "columns",
    [{"status": "unknown"}, {"status": "pending"}, {"decided_at": None}, {"inviter_id": "invitee"}],
)
def test_a_referral_is_consistent(
    inviter: User, register: Register, columns: dict[str, Any]
) -> None:
    invitee = register(referral_code=inviter.referral_code).user
    columns = {name: invitee.pk if v == "invitee" else v for name, v in columns.items()}

    with pytest.raises(IntegrityError), transaction.atomic():
        Referral.objects.update(**columns)


def test_a_person_has_one_inviter_ever(inviter: User, register: Register) -> None:
    invitee = register(referral_code=inviter.referral_code).user
    other = register().user

    with pytest.raises(IntegrityError), transaction.atomic():
        Referral.objects.create(invitee=invitee, inviter=other, code_used=other.referral_code)


def test_people_with_history_cannot_be_deleted(inviter: User, register: Register) -> None:
    invitee = register(referral_code=inviter.referral_code).user

    for user in (inviter, invitee):
        with pytest.raises(ProtectedError):
            user.delete()


def test_accounts_have_unguessable_ids_and_well_formed_codes(inviter: User) -> None:
    assert isinstance(inviter.pk, uuid.UUID)
    assert inviter.pk.version == 7
    assert codes.is_well_formed(inviter.referral_code, 8)


def test_the_canonical_address_follows_the_address(inviter: User) -> None:
    inviter.email = "m.ei+1@gmail.com"

    inviter.save(update_fields=["email"])

    assert User.objects.get().email_canonical == "mei@gmail.com"


def test_an_account_shows_no_address_in_tracebacks(inviter: User) -> None:
    assert str(inviter) == "inviter@example.com"
    assert "inviter@" not in repr(inviter)


def test_createsuperuser_makes_a_complete_staff_account(
    client: Client, monkeypatch: pytest.MonkeyPatch, mandatory: None
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)

    call_command("createsuperuser", email="Admin@Example.com", interactive=False, verbosity=0)

    staff = User.objects.get()
    assert (staff.email, staff.is_staff, staff.is_superuser) == ("admin@example.com", True, True)
    assert staff.registered_at is None
    assert codes.is_well_formed(staff.referral_code, 8)
    address = EmailAddress.objects.get()
    assert (address.user, address.verified, address.primary) == (staff, True, True)
    assert not Event.objects.exists()
    answer = client.post("/accounts/login/", {"login": "ADMIN@example.com", "password": PASSWORD})
    assert answer["Location"] == "/wallet/"


def test_createsuperuser_twice_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", email="admin@example.com", interactive=False, verbosity=0)

    with pytest.raises(CommandError, match="already taken"):
        call_command("createsuperuser", email="admin@example.com", interactive=False, verbosity=0)


def test_createsuperuser_refuses_what_is_no_address() -> None:
    with pytest.raises((CommandError, ValidationError)):
        call_command("createsuperuser", email="admin", interactive=False, verbosity=0)


@pytest.mark.parametrize("spelled", ["inviter@example.com", "INVITER@example.com"])
def test_every_spelling_logs_in_to_the_admin_site(inviter: User, spelled: str) -> None:
    assert authenticate(username=spelled, password=PASSWORD) == inviter
