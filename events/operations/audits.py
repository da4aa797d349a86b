"""What a receiver should have brought about, and a look whether it did. Apps declare audits.

`@audit("coupons.issue_welcome_coupons")` registers a function that gets some events which the
receiver is done with, and says of which the effect is missing, doubled or torn apart.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from events.envelope import Event
from events.operations.invariants import Check


class FlawKind(StrEnum):
    """How an effect can be wrong."""

    MISSING = "missing"  # none of it is there: the receiver makes it when it gets the event again
    DOUBLED = "doubled"  # which one to keep is for a person to say
    TORN = "torn"  # parts are there, so that the receiver would take it for done, or fail on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What is wrong with the effect of one event."""

    event_id: UUID
    kind: FlawKind
    what: str  # in a sentence, with ids in place of personal data


Look = Callable[[Sequence[Event[Any]]], Iterable[Flaw]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A look at what a receiver should have brought about."""

    look: Look
    depends_on: frozenset[str]  # receivers: while one is owed a key's event, nothing is missing


_audits: dict[str, Audit] = {}
_figures: dict[str, Check] = {}


def audit(*receivers: str, depends_on: Iterable[str] = ()) -> Callable[[Look], Look]:
    """Register the decorated function as the audit of one receiver, or of several.

    It gets at most 500 events at once, in order of position, and asks the database about all of
    them together. What was decided against, or is held back, is decided: no flaw. It may be asked
    inside the transaction that repairs.

    What it misses may be the work of another receiver, which is paused or late: of several each
    depends on the others, and `depends_on` names those besides. What it says of a key is let be
    while one of them has an open delivery of that key.
    Raises ImproperlyConfigured where a receiver has an audit.
    """

    def register(look: Look) -> Look:
        declared = Audit(look=look, depends_on=frozenset({*receivers, *depends_on}))
        for receiver in receivers:
            if _audits.setdefault(receiver, declared).look is not look:
                raise ImproperlyConfigured(f"{receiver} has two audits.")
        return look

    return register


def audit_of(receiver: str) -> Audit | None:
    """Return the audit of a receiver; None where its app declares none."""
    return _audits.get(receiver)


def figures(name: str, check: Check) -> None:
    """Let a reconciliation look at figures too: sums that must be those of their rows."""
    _figures[name] = check


def all_figures() -> tuple[tuple[str, Check], ...]:
    """Return the checks of figures, in order of name."""
    return tuple(sorted(_figures.items()))
