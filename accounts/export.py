"""What accounts keeps of a person, to be given to them. Other people appear masked."""

from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from knox.models import AuthToken

from accounts import emails, queries, risk
from accounts.models import Consent, Referral, StatusChange, User
from accounts.queries import exporter

MAX_INVITED = 1000  # the file, and what it takes to make it, stay small


@exporter("account")
def export(user_id: UUID) -> dict[str, Any]:
    """Return the account, its addresses, tokens, invitations, history, consents and signals."""
    user = User.objects.get(pk=user_id)
    return {
        **_account(user),
        "email_addresses": list(
            EmailAddress.objects.filter(user=user).values("email", "verified", "primary")
        ),
        "tokens": list(AuthToken.objects.filter(user=user).values("created", "expiry")),
        "second_factors": list(  # their secrets are nobody's to read
            Authenticator.objects.filter(user=user)
            .order_by("pk")
            .values("type", "created_at", "last_used_at")
        ),
        "sessions": list(
            UserSession.objects.filter(user=user)
            .order_by("pk")
            .values("created_at", "ip", "user_agent")
        ),
        "invited_by": _invitation(user_id),
        "people_invited": _people_invited(user_id),
        "status_changes": list(
            StatusChange.objects.filter(user=user)
            .order_by("pk")
            .values("subject", "before", "after", "reason", "changed_at")
        ),
        "consents": list(
            Consent.objects.filter(user=user)
            .order_by("pk")
            .values("version", "channel", "language", "agreed_at")
        ),
        "risk_signals": list(risk.signals_of(user_id).values("kind", "created_at", "expires_at")),
    }


def _account(user: User) -> dict[str, Any]:
    times = ("created_at", "registered_at", "last_login")
    return {
        "id": str(user.pk),
        "email": user.email,
        "display_name": user.display_name,
        "is_name_taken_off": user.is_name_taken_off,
        "status": user.status,
        "language": user.language,
        "referral_code": user.referral_code,
        "referral_url": queries.invite_url(user.referral_code),
        "is_returning": user.is_returning,
        **{name: getattr(user, name) for name in times},
    }


def _invitation(user_id: UUID) -> dict[str, Any] | None:
    referral = Referral.objects.filter(pk=user_id).select_related("inviter").first()
    if referral is None:
        return None
    return {"inviter": emails.mask(referral.inviter.email), **_referral(referral)}


def _people_invited(user_id: UUID) -> dict[str, Any]:
    """Return how many people somebody invited, and the latest of them."""
    referrals = Referral.objects.filter(inviter=user_id).select_related("invitee")
    latest = referrals.order_by("-created_at")[:MAX_INVITED]
    return {
        "total": referrals.count(),
        "latest": [
            {"invitee": emails.mask(referral.invitee.email), **_referral(referral)}
            for referral in latest
        ],
    }


def _referral(referral: Referral) -> dict[str, Any]:
    return {
        "status": referral.status,
        "created_at": referral.created_at,
        "decided_at": referral.decided_at,
    }
