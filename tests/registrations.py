"""People, and the event of their registration, without the cost of registering them."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from uuid import UUID, uuid4

from django.contrib.auth.models import Permission
from django.utils import timezone

from accounts.models import AccountStatus, Referral, ReferralStatus, User
from accounts.signals import UserRegistered, user_registered
from events.envelope import Event

_numbers = count(1)


def id_made_at(moment: datetime) -> UUID:
    """Return an id as it is made at a moment: a UUIDv7."""
    bits = int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62
    return UUID(int=bits | secrets.randbits(62))


def make_people(number: int) -> list[User]:
    """Return new accounts that are registered, of which nothing was published."""
    people = [
        User(email=address, email_canonical=address, registered_at=timezone.now(), password="!")
        for address in (f"somebody{next(_numbers)}@example.com" for _ in range(number))
    ]
    return User.objects.bulk_create(people)


def make_person() -> User:
    """Return one new account."""
    return make_people(1)[0]


def registered(
    user: User,
    *,
    inviter: User | None = None,
    position: int | None = None,
    at: datetime | None = None,
) -> Event[UserRegistered]:
    """Return the event of a registration, as a receiver gets it. It is not in the log."""
    return Event(
        id=uuid4(),
        position=position or next(_numbers),
        type=user_registered.type,
        version=user_registered.version,
        key=str(user.pk),
        data=UserRegistered(user_id=user.pk, inviter_id=inviter.pk if inviter else None),
        occurred_at=at or timezone.now(),
        correlation_id="test",
        causation_id=None,
    )


def all_registered(
    people: Sequence[User], inviter: User | None = None
) -> list[Event[UserRegistered]]:
    """Return the events of many registrations, in the order of the people."""
    return [registered(person, inviter=inviter) for person in people]


def close(user: User) -> None:
    """Close an account, as far as its row goes."""
    User.objects.filter(pk=user.pk).update(
        status=AccountStatus.CLOSED, closed_at=timezone.now(), is_active=False
    )


def flag(user: User) -> None:
    """Put an account under review, as far as its row goes."""
    User.objects.filter(pk=user.pk).update(status=AccountStatus.FLAGGED)


def clear(user: User) -> None:
    """End the review of an account, as far as its row goes."""
    User.objects.filter(pk=user.pk).update(status=AccountStatus.ACTIVE)


def refer(invitee: User, inviter: User, status: str = ReferralStatus.APPROVED) -> Referral:
    """Record who invited somebody."""
    return Referral.objects.create(
        invitee=invitee,
        inviter=inviter,
        code_used=inviter.referral_code,
        status=status,
        decided_at=timezone.now(),
    )


def make_service(*permissions: str) -> User:
    """Return the account of another system, with permissions such as "points.spend_points"."""
    service = User.objects.create(email=f"service{next(_numbers)}@example.com", password="!")
    wanted = [permission.partition(".")[::2] for permission in permissions]
    for app, codename in wanted:
        found = Permission.objects.get(content_type__app_label=app, codename=codename)
        service.user_permissions.add(found)
    return User.objects.get(pk=service.pk)  # without the permissions it has cached
