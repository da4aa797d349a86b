"""The tail of the event log: what was committed just now about some people.

Whoever has a page open is told to look again: `events.live_follower` reads here, and passes hints
to the sockets that `events.live_sockets` holds. A hint says that something happened, not what is
true now: the page asks for that, and asks anyway from time to time, so a lost hint costs little.

Positions are in the publishers' order per key. Across people a lower one may commit later: so each
look begins where the log ended LOOK_BACK_S ago, and whoever looks drops what it has met.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, Max, QuerySet, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from events.models import Event
from events.signals import all_signals

LOOK_BACK_S = 5.0
TAIL_LIMIT = 2000  # hints of one look: so many are read and gone through, whatever has happened
BEGIN_BACK = 1000  # positions: at a first look nobody knows where the log ended LOOK_BACK_S ago
_COLUMNS = ("position", "event_id", "type", "person")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """An event, and one of the people whom it concerns."""

    position: int
    event_id: UUID
    type: str
    person: str  # as keys of events name people


def read_tail(people: Collection[str], after: int) -> tuple[int, list[Hint]]:
    """Return where the log ends, and what it has after a position about some people, in order.

    One statement, by indices: its cost grows with the people and with what is new, not with
    history. TAIL_LIMIT hints may be any part of what there is: then a second statement asks
    where the log ends, and `whom_it_concerns` tells who had better look.
    """
    end = Event.objects.filter(position=_end_of_log()).annotate(person=Value(""))
    parts = [_rows(part, *_COLUMNS) for part in (*_about(people, after), end)]
    rows = list(parts[0].union(*parts[1:], all=True)[: TAIL_LIMIT + 1])
    found = sorted(
        (Hint(**dict(zip(_COLUMNS, row, strict=True))) for row in rows),
        key=lambda hint: hint.position,
    )
    hints = [hint for hint in found if hint.person][:TAIL_LIMIT]
    if len(found) > TAIL_LIMIT:
        return _where_log_ends(), hints
    return max((hint.position for hint in found), default=0), hints


def whom_it_concerns(people: Collection[str], after: int) -> set[str]:
    """Return which of these people the log has something about after a position, however much."""
    parts = [_rows(part, "person").order_by() for part in _about(people, after)]
    return {person for (person,) in parts[0].union(*parts[1:]).order_by()}


def begin() -> int:
    """Return the position after which a first look reads."""
    return max(0, _where_log_ends() - BEGIN_BACK)


class Window:
    """Where the next look begins: where the log ended LOOK_BACK_S before the latest one."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()  # when a look began, where the log ended

    @property
    def start(self) -> int | None:
        """The position after which to read; None before the first look."""
        return self._marks[0][1] if self._marks else None

    def note(self, *, began_at: float, end: int) -> None:
        """Note a look: when it began, in monotonic seconds, and where it found the log to end."""
        if self._marks and end < self._marks[-1][1]:
            self._marks.clear()  # another database, or an older one: it was restored
        self._marks.append((began_at, end))
        while len(self._marks) > 1 and self._marks[1][0] <= began_at - LOOK_BACK_S:
            self._marks.popleft()

    def move_on(self, *, began_at: float, end: int) -> None:
        """Begin the next look where this one found the log to end: it has been too much to read."""
        self._marks.clear()
        self.note(began_at=began_at, end=end)


def _about(people: Collection[str], after: int) -> Iterator[QuerySet[Event, Any]]:
    """Yield what is new: events keyed by these people, then those that concern them besides."""
    new = Event.objects.filter(position__gt=after)
    yield new.filter(key__in=people).annotate(person=F("key"))
    for field, types in _types_by_concerned_field().items():
        # A text to the database too: asked for JSON, SQLite would take each id for JSON.
        concerned = Cast(KeyTextTransform(field, "data"), TextField())
        yield new.filter(type__in=types).annotate(person=concerned).filter(person__in=people)


def _types_by_concerned_field() -> dict[str, list[str]]:
    types: dict[str, list[str]] = {}
    for signal in all_signals():
        for field in signal.concerned_fields:
            types.setdefault(field, []).append(signal.type)
    return types


def _where_log_ends() -> int:
    end: int | None = Event.objects.aggregate(end=Max("position"))["end"]
    return end or 0


def _end_of_log() -> Any:
    return Event.objects.order_by("-position").values("position")[:1]


def _rows(events: QuerySet[Event, Any], *columns: str) -> QuerySet[Event, Any]:
    return events.order_by().values_list(*columns)
