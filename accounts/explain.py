"""What accounts tells when somebody asks what happened to a user."""

from uuid import UUID

from django.db.models import QuerySet

from accounts import emails, risk, verification
from accounts.closing import find_closed
from accounts.models import (
    AccountStatus,
    Consent,
    Referral,
    ReferralStatus,
    RiskSignal,
    StatusChange,
    User,
)
from accounts.services import verification_is_mandatory
from accounts.signals import user_registered
from events.operations.explain import Fact, Person, Remark, Subject, Told, finder, teller

MAX_CHANGES = 50  # of one account: the newest


@finder
def find_person(email: str) -> Person | None:
    """Find an account by its address, however it is spelled, or else the closed one that had it."""
    address = emails.fold_email(email)
    user = User.objects.filter(email=address).first() or find_closed(address)
    return Person(key=str(user.pk), name=f"Account {user.pk}") if user else None


@teller
def tell(subject: Subject) -> Told:
    """Tell when the account was made and registered, by whose invitation, and how it stands."""
    user = _user(subject.key)
    if user is None:
        return Told()
    happened = [(user.created_at, "the account was made")]
    if referral := Referral.objects.filter(pk=user.pk).first():
        happened.append((referral.created_at, f"invited by account {referral.inviter_id}"))
    if user.registered_at is not None:
        happened.append((user.registered_at, "the registration was complete"))
    happened += [(consent.agreed_at, _agreed(consent)) for consent in user.consents.all()]
    signals = list(risk.signals_of(user.pk))
    happened += [(signal.created_at, _noticed(signal)) for signal in signals]
    # A sign-up takes its moments in any order; nothing happened before there was an account.
    facts = [Fact(at=max(at, user.created_at), text=f"accounts: {t}") for at, t in happened]
    return Told(
        facts=[*facts, *map(_changed, _changes(user))],
        remarks=[*_remarks(user, subject), *([_invitation(referral)] if referral else [])],
    )


def _changes(user: User) -> QuerySet[StatusChange]:
    return StatusChange.objects.filter(user=user).order_by("-pk")[:MAX_CHANGES]


def _changed(change: StatusChange) -> Fact:
    by = f" by account {change.actor_id}" if change.actor_id else ""
    note = f": {change.note}" if change.note else ""
    what = f"the {change.subject} went from {change.before} to {change.after}"
    if change.before == change.after:
        what = "the account, which was closed already, was found to be a fraud's"
    text = f"accounts: {what}{by} ({change.reason}{note})"
    return Fact(at=change.changed_at, text=text, event_id=change.event_id)


def _agreed(consent: Consent) -> str:
    return f"agreed to version {consent.version} of the terms ({consent.channel})"


def _noticed(signal: RiskSignal) -> str:
    return f"noticed: {signal.get_kind_display()} (weight {signal.weight})"


def _invitation(referral: Referral) -> Remark:
    """Say how the invitation stands, which decides about the inviter's reward."""
    reasons = f" ({', '.join(referral.reasons)})" if referral.reasons else ""
    text = f"The invitation by account {referral.inviter_id} is {referral.status}{reasons}."
    if referral.status != ReferralStatus.FLAGGED:
        return Remark(text=text)
    return Remark(
        text=f"{text} The inviter's reward waits.",
        do="Approve or void it in the admin, under Referrals.",
    )


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
    if user.is_returning:
        remarks.append(Remark(text="The person had an account before, which is closed."))
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
