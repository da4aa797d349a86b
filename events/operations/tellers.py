"""Who tells stories: each app registers what it knows of a person, and how it finds one.

The backbone tells of events, deliveries and attempts. What they mean, the apps say: each registers
a teller, which gets the subject of the story and says what it knows of it, in the active language.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from events.models import Delivery, DeliveryState, Event
from events.operations.story import Person, Subject, Told, UnknownSubject

Teller = Callable[[Subject], Told]
Finder = Callable[[str], Person | None]


@dataclass(slots=True)
class _Registry:
    tellers: list[Teller] = field(default_factory=list)
    finders: list[Finder] = field(default_factory=list)


_registry = _Registry()


def teller(function: Teller) -> Teller:
    """Register a function that says what an app knows of a key. It knows many it has never met."""
    _registry.tellers.append(function)
    return function


def finder(function: Finder) -> Finder:
    """Register a function that finds whose address an e-mail address is."""
    _registry.finders.append(function)
    return function


def find_person(email: str) -> Person:
    """Return whose address this is. Raises UnknownSubject where it is nobody's."""
    person = next((p for find in _registry.finders if (p := find(email))), None)
    if person is None:
        raise UnknownSubject(_("There is no account with this e-mail address."))
    return person


def ask_tellers(key: str, events: Collection[Event]) -> list[Told]:
    """Return what each app tells of a key, given the events of the story that are about it."""
    done = Delivery.objects.filter(
        event__in=[event.event_id for event in events], state=DeliveryState.DONE
    )
    subject = Subject(
        key=key,
        event_types=frozenset(event.type for event in events),
        done_receivers=frozenset(done.values_list("receiver", flat=True)),
    )
    return [tell(subject) for tell in _registry.tellers]
