"""A referral is decided at the sign-up, and may be decided again; a void one is final."""

from functools import partial
from uuid import uuid4

import pytest

from accounts.models import Referral, StatusChange, User
from accounts.referrals import Undecidable, approve_referral, void_referral
from accounts.services import complete_registration
from accounts.standing import flag_account
from tests.accounts.conftest import Register, close
from tests.accounts.test_standing import published
from tests.parallel import run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flagged(inviter: User, register: Register) -> Referral:
    """Return a referral that waits because of its inviter."""
    flag_account(user_id=inviter.pk, reason="by_staff")
    return Referral.objects.get(pk=register(referral_code=inviter.referral_code).user.pk)


@pytest.fixture
def approved(inviter: User, register: Register) -> Referral:
    """Return a referral that counts from the start."""
    return Referral.objects.get(pk=register(referral_code=inviter.referral_code).user.pk)


def test_a_flagged_referral_is_approved(flagged: Referral) -> None:
    before = flagged.decided_at

    assert approve_referral(invitee_id=flagged.pk, reason="by_staff", note="A real friend.")

    referral = Referral.objects.get()
    assert referral.status == "approved"
    assert referral.decided_at != before
    ids = {"invitee_id": str(flagged.pk), "inviter_id": str(flagged.inviter_id)}
    assert published("referral_approved") == [("referral_approved", ids)]
    change = StatusChange.objects.get(subject="referral")
    assert (change.user_id, change.before, change.after) == (flagged.pk, "flagged", "approved")
    assert change.note == "A real friend."


@pytest.mark.parametrize("kind", ["flagged", "approved"])
def test_a_referral_is_voided(kind: str, request: pytest.FixtureRequest) -> None:
    referral: Referral = request.getfixturevalue(kind)

    assert void_referral(invitee_id=referral.pk, reason="rejected")

    voided = Referral.objects.get()
    assert (voided.status, voided.reasons[-1]) == ("voided", "rejected")
    ids = {"invitee_id": str(referral.pk), "inviter_id": str(referral.inviter_id)}
    assert published("referral_voided") == [("referral_voided", {**ids, "reason": "rejected"})]


def test_a_repeat_does_nothing(approved: Referral) -> None:
    assert not approve_referral(invitee_id=approved.pk, reason="by_staff")
    assert void_referral(invitee_id=approved.pk, reason="rejected")
    assert not void_referral(invitee_id=approved.pk, reason="rejected")

    assert [kind for kind, _ in published("referral_approved", "referral_voided")] == [
        "referral_voided"
    ]


def test_void_is_final(approved: Referral) -> None:
    void_referral(invitee_id=approved.pk, reason="rejected")

    with pytest.raises(Undecidable, match="final") as refusal:
        approve_referral(invitee_id=approved.pk, reason="by_staff")

    assert refusal.value.code == "referral_voided"
    assert Referral.objects.get().status == "voided"


@pytest.mark.parametrize("decide", [approve_referral, void_referral])
def test_what_waits_for_its_registration_is_not_decided(
    decide: object, mandatory: None, register: Register
) -> None:
    inviter = register().user
    complete_registration(user_id=inviter.pk)
    invitee = register(referral_code=inviter.referral_code).user

    with pytest.raises(Undecidable, match="has not completed"):
        decide(invitee_id=invitee.pk, reason="by_staff")  # type: ignore[operator]

    assert Referral.objects.get(pk=invitee.pk).status == "pending"


@pytest.mark.parametrize("decide", [approve_referral, void_referral])
def test_who_was_not_invited_has_no_referral(decide: object, register: Register) -> None:
    for user_id in (register().user.pk, uuid4()):
        with pytest.raises(Referral.DoesNotExist):
            decide(invitee_id=user_id, reason="by_staff")  # type: ignore[operator]


def test_of_many_at_once_one_decides(flagged: Referral) -> None:
    void = partial(void_referral, invitee_id=flagged.pk, reason="rejected")

    assert sorted(run_at_once([void] * 12)) == [False] * 11 + [True]

    assert len(published("referral_voided")) == 1


def test_an_inviter_who_is_closed_meanwhile_is_not_credited(
    inviter: User, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts import services

    insert = services._insert

    def close_and_insert(*args: object) -> object:
        close(inviter)
        return insert(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "_insert", close_and_insert)

    registration = register(referral_code=inviter.referral_code)

    assert registration.referral_reason == "inviter_inactive"
    assert not registration.referral_applied
    assert Referral.objects.get().status == "voided"
    assert published("user_registered")[-1][1]["inviter_id"] is None
