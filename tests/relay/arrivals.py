"""Many events of some people, and whether all of them arrived as they must."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from accounts.signals import UserRegistered, user_registered
from events.envelope import Event
from relay.sending import body_of
from tests.registrations import make_people

PEOPLE, EVENTS_EACH = 50, 20


def register_many(count: int = PEOPLE) -> list[Event[UserRegistered]]:
    """Publish many events of some people, by turns."""
    people = make_people(count) * EVENTS_EACH
    with transaction.atomic():
        return user_registered.publish_many(
            [UserRegistered(user_id=person.pk, inviter_id=None) for person in people]
        )


def check_arrivals(events: Sequence[Event[Any]], messages: list[tuple[str, bytes]]) -> None:
    """Check that all arrived at least once, the same each time, in order per person.

    `messages` are ids and bodies, as they came.
    """
    bodies: dict[str, set[bytes]] = {}
    first_seen: dict[str, int] = {}
    for place, (id_, body) in enumerate(messages):
        bodies.setdefault(id_, set()).add(body)
        first_seen.setdefault(id_, place)
    assert bodies == {str(event.id): {body_of(event)} for event in events}
    for key in {event.key for event in events}:
        places = [first_seen[str(event.id)] for event in events if event.key == key]
        assert places == sorted(places)
