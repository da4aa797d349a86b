"""What accounts tells when somebody asks what happened to a user."""

from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts import emails, risk, verification
from accounts.closing import find_closed
from accounts.models import (
    AccountStatus,
    Consent,
    Referral,
    ReferralStatus,
    RiskSignal,
    StatusChange,
    StatusSubject,
    User,
)
from accounts.services import verification_is_mandatory
from accounts.signals import user_registered
from events.operations.story import Fact, Person, Remark, Subject, Told
from events.operations.tellers import finder, teller
from events.operations.wording import joined

MAX_CHANGES = 50  # of one account: the newest


@finder
def find_person(email: str) -> Person | None:
    """Find an account by its address, however it is spelled, or else the closed one that had it."""
    address = emails.fold_email(email)
    user = User.objects.filter(email=address).first() or find_closed(address)
    return Person(key=str(user.pk), name=_("Account %(id)s") % {"id": user.pk}) if user else None


@teller
def tell(subject: Subject) -> Told:
    """Tell when the account was made and registered, by whose invitation, and how it stands."""
    user = _user(subject.key)
    if user is None:
        return Told()
    happened = [(user.created_at, _("the account was made"))]
    if referral := Referral.objects.filter(pk=user.pk).first():
        invited = _("invited by account %(id)s") % {"id": referral.inviter_id}
        happened.append((referral.created_at, invited))
    if user.registered_at is not None:
        happened.append((user.registered_at, _("the registration was complete")))
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
    """Tell a change of status with its short code, and who and what note are behind it."""
    told = {
        "what": _what_changed(change),
        "who": change.actor_id,
        "why": f"{change.reason}: {change.note}" if change.note else change.reason,
    }
    text = (
        _("%(what)s by account %(who)s (%(why)s)") if change.actor_id else _("%(what)s (%(why)s)")
    ) % told
    return Fact(at=change.changed_at, text=f"accounts: {text}", event_id=change.event_id)


def _what_changed(change: StatusChange) -> str:
    if change.before == change.after:
        return _("the account, which was closed already, was found to be a fraud's")
    if change.subject == StatusSubject.ACCOUNT:
        before, after = AccountStatus(change.before).label, AccountStatus(change.after).label
        what = _("the account went from %(before)s to %(after)s")
    else:
        before, after = ReferralStatus(change.before).label, ReferralStatus(change.after).label
        what = _("the referral went from %(before)s to %(after)s")
    return what % {"before": before, "after": after}


def _agreed(consent: Consent) -> str:
    return _("agreed to version %(version)s of the terms (%(channel)s)") % {
        "version": consent.version,
        "channel": consent.get_channel_display(),
    }


def _noticed(signal: RiskSignal) -> str:
    return _("noticed: %(signal)s (weight %(weight)d)") % {
        "signal": signal.get_kind_display(),
        "weight": signal.weight,
    }


def _invitation(referral: Referral) -> Remark:
    """Say how the invitation stands, which decides about the inviter's reward."""
    status: str = referral.get_status_display()
    if referral.reasons:
        status = f"{status} ({', '.join(referral.reasons)})"
    text = _("The invitation by account %(id)s is %(status)s.") % {
        "id": referral.inviter_id,
        "status": status,
    }
    if referral.status != ReferralStatus.FLAGGED:
        return Remark(text=text)
    waits = _("The inviter's reward waits.")
    return Remark(
        text=joined(text, waits), do=_("Approve or void it in the admin, under Referrals.")
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
                text=_("The account is registered, but the event that says so is not there."),
                do=_("%(command)s shows whether others are concerned.")
                % {"command": "`manage.py check_invariants` (I2)"},
                is_broken=True,
            )
        )
    if user.is_returning:
        remarks.append(Remark(text=_("The person had an account before, which is closed.")))
    if user.status != AccountStatus.ACTIVE:
        text = _("The account is %(status)s: benefits may be held back.")
        remarks.append(Remark(text=text % {"status": user.get_status_display()}))
    return remarks


def _unregistered(user: User) -> Remark:
    """Say why an account that never registered is owed nothing."""
    if user.is_staff:
        return Remark(
            text=_("A staff account that never signed up: no event, and nothing is owed.")
        )
    if verification_is_mandatory() and not verification.is_verified(user):
        return Remark(
            text=_(
                "The sign-up waits for the person to confirm the e-mail address. Until then "
                "nothing is published, and nothing is owed."
            ),
            do=_("The person follows the link in the mail; logging in sends another one."),
        )
    return Remark(
        text=_("The sign-up is not complete, though it waits for no confirmation."),
        do=_("It is completed when the person logs in the next time."),
    )
