"""What a story is made of: whom it is about, what happened, what apps say, what is not done yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from events.models import Attempt, Delivery, DeliveryState, Event, ReceiverState


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whose story it is."""

    key: str  # of the events about them
    name: str  # to be shown: no full address


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that an app knows to have happened."""

    at: datetime
    text: str
    event_id: UUID | None = None  # the event it is an effect of


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What an app has to say to "where is it?": an effect that is there, or why there is none."""

    text: str
    do: str = ""  # empty where nothing needs to be done
    is_broken: bool = False  # something is wrong before any delivery could be late
    event_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """Deliveries of events about others that will bring the person something."""

    receiver: str
    keys: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one app tells."""

    facts: Sequence[Fact] = ()
    remarks: Sequence[Remark] = ()
    awaited: Sequence[Awaited] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One delivery in a story."""

    delivery: Delivery
    failures: tuple[Attempt, ...]  # in order of time
    behind: Delivery | None  # the first unfinished one of its lane, where that is another
    now: datetime  # by the database's clock

    @property
    def lasted_s(self) -> float | None:
        """The seconds from the publishing to the end, where it has ended."""
        end = self.delivery.finished_at
        return (end - self.delivery.event.occurred_at).total_seconds() if end else None

    @property
    def is_counted_anew(self) -> bool:
        """Whether it failed before it was replayed: attempts are counted from there."""
        did_not_fail = self.delivery.state in {DeliveryState.DONE, DeliveryState.RUNNING}
        return len(self.failures) + did_not_fail > self.delivery.attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One event in a story, with its deliveries and the receivers that lack theirs."""

    event: Event
    stops: tuple[Stop, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything known, in order of time, but for the verdict."""

    key: str
    name: str
    chapters: tuple[Chapter, ...]
    facts: tuple[Fact, ...]
    remarks: tuple[Remark, ...]
    paused: dict[str, ReceiverState]  # by receiver
    working_queues: frozenset[str]  # where a worker holds a lease at the moment
    is_cut: bool  # there are earlier events, left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom or what a teller is asked about."""

    key: str
    event_types: frozenset[str]  # of the events about it
    done_receivers: frozenset[str]  # that have finished with such an event


class UnknownSubject(LookupError):
    """Nobody has this address, or no event this id."""
