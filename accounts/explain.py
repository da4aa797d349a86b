"""What accounts tells when somebody asks what happened to a user."""

from uuid import UUID

from accounts import emails, verification
from accounts.models import AccountStatus, Referral, User
from accounts.services import verification_is_mandatory
from accounts.signals import user_registered
from events.operations.explain import Fact, Person, Remark, Subject, Told, finder, teller


@finder
def find_person(email: str) -> Person | None:
    """Find an account by its address, however it is spelled."""
    user = User.objects.filter(email=emails.fold_email(email)).first()
    return Person(key=str(user.pk), name=f"Account {user.pk}") if user else None


@teller
def tell(subject: Subject) -> Told:
    """Tell when the account was made and registered, by whose invitation, and how it stands."""
    user = _user(subject.key)
    if user is None:
        return Told()
    happened = [(user.created_at, "the account was made")]
    if referral := Referral.objects.filter(pk=user.pk).first():
        happened.append((referral.decided_at or referral.created_at, _invitation(referral)))
    if user.registered_at is not None:
        happened.append((user.registered_at, "the registration was complete"))
    if user.closed_at is not None:
        happened.append((user.closed_at, "the account was closed"))
    # A sign-up takes its moments in any order; nothing happened before there was an account.
    facts = [Fact(at=max(at, user.created_at), text=f"accounts: {t}") for at, t in happened]
    return Told(facts=facts, remarks=_remarks(user, subject))


def _invitation(referral: Referral) -> str:
    reasons = f" ({', '.join(referral.reasons)})" if referral.reasons else ""
    return f"invited by account {referral.inviter_id}: {referral.status}{reasons}"


def _user(key: str) -> User | None:
    try:
        return User.objects.filter(pk=UUID(key)).first()
    except ValueError:  # an event about something else
        return None


def _remarks(user: User, subject: Subject) -> list[Remark]:
    if user.registered_at is None:
        return [_unregistered(user)]
    remarks = []
    if user_registered.type not in subject.event_types:
        remarks.append(
            Remark(
                text="The account is registered, but the event that says so is not there.",
                do="`manage.py check_invariants` (I2) shows whether others are concerned.",
                is_broken=True,
            )
        )
    if user.status != AccountStatus.ACTIVE:
        remarks.append(Remark(text=f"The account is {user.status}: benefits may be held back."))
    return remarks


def _unregistered(user: User) -> Remark:
    """Say why an account that never registered is owed nothing."""
    if user.is_staff:
        return Remark(text="A staff account that never signed up: no event, and nothing is owed.")
    if verification_is_mandatory() and not verification.is_verified(user):
        return Remark(
            text="The sign-up waits for the person to confirm the e-mail address. Until then "
            "nothing is published, and nothing is owed.",
            do="The person follows the link in the mail; logging in sends another one.",
        )
    return Remark(
        text="The sign-up is not complete, though it waits for no confirmation.",
        do="It is completed when the person logs in the next time.",
    )
