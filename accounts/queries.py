"""What other apps may read of accounts. Plain values out, no models."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.conf import settings
from django.db.models import Count
from django.db.models.functions import TruncDate
from django.urls import reverse

import codes
from accounts.emails import fold_email
from accounts.models import Referral, ReferralStatus, User
from accounts.signals import user_registered
from events.models import Event as EventRow
from events.rows import among
from periods import DAY, first_uuid7, midnight


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSummary:
    """The state of one account. No personal data."""

    id: UUID
    status: str  # active | flagged | closed
    language: str  # "en", "zh-hans"
    registered_at: datetime | None  # None: not complete yet, or staff who never registered
    closed_at: datetime | None
    is_returning: bool  # had an account before that was closed: no newcomer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralSummary:
    """Who invited one person, and what was decided about it."""

    invitee_id: UUID
    inviter_id: UUID
    status: str  # pending | approved | flagged | voided
    created_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSummary:
    """One registration, as its event tells it to every receiver."""

    user_id: UUID
    inviter_id: UUID | None  # None: nobody is credited
    occurred_at: datetime


Exporter: TypeAlias = Callable[[UUID], Any]

_exporters: dict[str, Exporter] = {}


def exporter(section: str) -> Callable[[Exporter], Exporter]:
    """Register a function that returns what an app keeps of a person, to be given to them.

    It takes the account's id and returns JSON types, and times.
    """

    def register(function: Exporter) -> Exporter:
        _exporters[section] = function
        return function

    return register


def export_account(user_id: UUID) -> dict[str, Any]:
    """Return everything that is kept of a person, by section: what every app registered."""
    return {section: _plain(export(user_id)) for section, export in sorted(_exporters.items())}


def _plain(value: Any) -> Any:
    """Return JSON types alone, with times as ISO 8601 has them."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def accounts_by_id(user_ids: Iterable[UUID]) -> dict[UUID, AccountSummary]:
    """Return the accounts that exist among `user_ids`, in one query."""
    rows = User.objects.filter(among("pk", user_ids)).values(*AccountSummary.__slots__)
    return {row["id"]: AccountSummary(**row) for row in rows}


def ids_by_email(emails: Iterable[str]) -> dict[str, UUID]:
    """Return the accounts of those addresses that have one, by the address as given."""
    folded = {email: fold_email(email) for email in emails}
    rows = User.objects.filter(email__in=set(folded.values())).values_list("email", "pk")
    known = dict(rows)
    return {email: known[form] for email, form in folded.items() if form in known}


def referrals_by_invitee(user_ids: Iterable[UUID]) -> dict[UUID, ReferralSummary]:
    """Return the referrals of those among `user_ids` who were invited, in one query."""
    rows = Referral.objects.filter(among("pk", user_ids)).values(*ReferralSummary.__slots__)
    return {row["invitee_id"]: ReferralSummary(**row) for row in rows}


def registration_of(user_id: UUID) -> RegistrationSummary | None:
    """Return a person's registration, or None where the log has none (yet), in one query."""
    rows = EventRow.objects.filter(type=user_registered.type, key=str(user_id))
    if (row := rows.order_by("position").first()) is None:
        return None
    event = user_registered.read(row)
    return RegistrationSummary(
        user_id=user_id, inviter_id=event.data.inviter_id, occurred_at=event.occurred_at
    )


def id_by_referral_code(code: str) -> UUID | None:
    """Return whose referral code this is, however it is spelled, or None."""
    users = User.objects.filter(referral_code=codes.normalize(code))
    return users.values_list("pk", flat=True).first()


def invitees_of(user_id: UUID, limit: int) -> list[UUID]:
    """Return whom a person invited, the latest first."""
    referrals = Referral.objects.filter(inviter=user_id).order_by("-created_at")
    return list(referrals.values_list("invitee_id", flat=True)[:limit])


def sign_ups_by_invitation(since: date, until: date) -> dict[date, int]:
    """Return how many people signed up through an invitation, by day in UTC, in one query.

    Both days are inclusive. Somebody who has not confirmed their address yet counts.
    """
    # An account's id tells when it was made, and the referrals are in order of it.
    first, last = (first_uuid7(midnight(day, UTC)) for day in (since, until + DAY))
    referrals = Referral.objects.filter(pk__gte=first, pk__lt=last).order_by()
    by_day = referrals.annotate(day=TruncDate("created_at", tzinfo=UTC))
    return dict(by_day.values_list("day").annotate(Count("pk")))


def voided_invitees_of(user_ids: Iterable[UUID]) -> set[UUID]:
    """Return those whom these people invited and whose referral is void, in one query."""
    void = Referral.objects.filter(among("inviter", user_ids), status=ReferralStatus.VOIDED)
    return set(void.values_list("invitee_id", flat=True))


def referral_code_of(user_id: UUID) -> str:
    """Return the code a person invites others with. Raises User.DoesNotExist."""
    return User.objects.values_list("referral_code", flat=True).get(pk=user_id)


def invite_url(referral_code: str) -> str:
    """Return the public link that invites people with this code."""
    return f"{settings.PUBLIC_URL}{reverse('invite', args=[referral_code])}"
