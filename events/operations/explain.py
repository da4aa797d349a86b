"""The story of one user or one event: what happened, what came of it, and what is late."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from events.models import Attempt, Delivery, Event, ReceiverState
from events.operations.missing import undelivered
from events.operations.story import Chapter, Fact, Person, Remark, Stop, Story, Told, UnknownSubject
from events.operations.tellers import ask_tellers, find_person
from events.receivers import all_receivers, queue_of

MAX_EVENTS = 200  # of one story: the newest
MAX_DEPTH = 10  # links of a chain of causes
READINGS = 3  # of somebody to whom things happen all the time


def story_of_user(email: str) -> Story:
    """Return the story of whoever has an address. Raises UnknownSubject where nobody has it."""
    return story_of_person(find_person(email))


def story_of_person(person: Person) -> Story:
    """Return the story of a person.

    Read again where something came meanwhile: told by halves, a story has deliveries that are done
    and nothing that they did.
    """
    for _reading in range(READINGS):
        newest = list(Event.objects.filter(key=person.key).order_by("-position")[: MAX_EVENTS + 1])
        story = _story_of(person, newest)
        seen = newest[0].position if newest else 0
        if not Event.objects.filter(key=person.key, position__gt=seen).exists():
            break
    return story


def _story_of(person: Person, newest: Sequence[Event]) -> Story:
    own = newest[:MAX_EVENTS]
    told = ask_tellers(person.key, own)
    events = _with_descendants(own)
    return _story(
        key=person.key,
        name=person.name,
        events=events,
        awaited=_awaited(told, besides=events),
        facts=[fact for told_by in told for fact in told_by.facts],
        remarks=[remark for told_by in told for remark in told_by.remarks],
        is_cut=len(newest) > MAX_EVENTS,
    )


def story_of_event(event_id: UUID) -> Story:
    """Return the story of an event, its causes and what it caused. Raises UnknownSubject."""
    event = Event.objects.filter(event_id=event_id).first()
    if event is None:
        raise UnknownSubject(_("There is no event %(id)s.") % {"id": event_id})
    events = _with_descendants([*_causes_of(event), event])
    ids = {event.event_id for event in events}
    told = ask_tellers(event.key, [event])
    return _story(
        key=event.key,
        name=f"{event.type} {event.event_id}",
        events=events,
        awaited=[],
        facts=[f for told_by in told for f in told_by.facts if f.event_id in ids],
        remarks=[r for told_by in told for r in told_by.remarks if r.event_id in ids],
        is_cut=False,
    )


def _awaited(told: Sequence[Told], *, besides: Sequence[Event]) -> list[Delivery]:
    """Return the unfinished deliveries of others' events that the apps say are waited for."""
    wanted = Q(pk__in=[])
    for awaited in (a for told_by in told for a in told_by.awaited):
        wanted |= Q(receiver=awaited.receiver, key__in=awaited.keys)
    deliveries = Delivery.objects.filter(wanted, finished_at__isnull=True)
    others = deliveries.exclude(event__in=[event.event_id for event in besides])
    return list(others.select_related("event").order_by("pk")[:MAX_EVENTS])


def _with_descendants(events: Sequence[Event]) -> list[Event]:
    """Return the events and what they caused, generation by generation, at most MAX_EVENTS more."""
    found = {event.event_id: event for event in events}
    limit = len(found) + MAX_EVENTS
    parents = list(found)
    for _generation in range(MAX_DEPTH):
        children = Event.objects.filter(causation_id__in=parents).order_by("position")
        new = [c for c in children[:limit] if c.event_id not in found][: limit - len(found)]
        if not new:
            break
        found |= {event.event_id: event for event in new}
        parents = [event.event_id for event in new]
    return sorted(found.values(), key=lambda event: event.position)


def _causes_of(event: Event) -> list[Event]:
    causes: list[Event] = []
    while event.causation_id and len(causes) < MAX_DEPTH:
        cause = Event.objects.filter(event_id=event.causation_id).first()
        if cause is None:
            break
        causes.append(cause)
        event = cause
    return causes


def _story(
    *,
    key: str,
    name: str,
    events: list[Event],
    awaited: list[Delivery],
    facts: list[Fact],
    remarks: list[Remark],
    is_cut: bool,
) -> Story:
    theirs = Delivery.objects.filter(event__in=[event.event_id for event in events])
    stops = _stops(theirs | Delivery.objects.filter(pk__in=[delivery.pk for delivery in awaited]))
    others = {delivery.event_id: delivery.event for delivery in awaited}
    told_of = sorted([*events, *others.values()], key=lambda event: event.position)
    paused = ReceiverState.objects.filter(paused_at__isnull=False)
    leased = Delivery.objects.filter(lease_expires_at__gt=Now()).order_by()
    return Story(
        key=key,
        name=name,
        chapters=_chapters(told_of, stops, _lacking(events)),
        facts=tuple(sorted(facts, key=lambda fact: fact.at)),
        remarks=tuple(remarks),
        paused={state.name: state for state in paused},
        working_queues=frozenset(
            queue_of(name, noted=queue)
            for name, queue in leased.values_list("receiver", "queue").distinct()
        ),
        is_cut=is_cut,
    )


def _chapters(
    events: Sequence[Event], stops: Sequence[Stop], lacking: dict[str, set[UUID]]
) -> tuple[Chapter, ...]:
    by_event: dict[UUID, list[Stop]] = {}
    for stop in stops:
        by_event.setdefault(stop.delivery.event_id, []).append(stop)
    return tuple(
        Chapter(
            event=event,
            stops=tuple(by_event.get(event.event_id, ())),
            lacking=tuple(name for name, ids in lacking.items() if event.event_id in ids),
        )
        for event in events
    )


def _stops(chosen: QuerySet[Delivery]) -> list[Stop]:
    deliveries = list(
        chosen.annotate(head=_head_of_lane(), now=Now())
        .select_related("event")
        .order_by("receiver", "target")
    )
    heads = Delivery.objects.in_bulk([d.head for d in deliveries if d.head not in {None, d.pk}])
    failures: dict[int, list[Attempt]] = {}
    for attempt in Attempt.objects.filter(delivery__in=deliveries).order_by("started_at", "pk"):
        failures.setdefault(attempt.delivery_id, []).append(attempt)
    return [
        Stop(
            delivery=delivery,
            failures=tuple(failures.get(delivery.pk, ())),
            behind=heads.get(delivery.head) if delivery.head else None,
            now=delivery.now,
        )
        for delivery in deliveries
    ]


def _head_of_lane() -> Subquery:
    """Return the first unfinished delivery at or before the outer one, unfinished itself."""
    lane: QuerySet[Delivery] = Delivery.objects.filter(
        receiver=OuterRef("receiver"),
        target=OuterRef("target"),
        key=OuterRef("key"),
        position__lte=OuterRef("position"),
        finished_at__isnull=True,
    )
    return Subquery(lane.order_by("position").values("pk")[:1])


def _lacking(events: list[Event]) -> dict[str, set[UUID]]:
    """Return, by receiver, which of the events it was owed and not given."""
    types = {event.type for event in events}
    ids = [event.event_id for event in events]
    return {
        receiver.name: set(
            undelivered(receiver).filter(event_id__in=ids).values_list("event_id", flat=True)
        )
        for receiver in all_receivers()
        if types & {signal.type for signal in receiver.signals}
    }
