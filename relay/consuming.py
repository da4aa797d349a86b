"""Bring events of other systems in: from a broker into the inbox, at least once, none lost.

A message is acknowledged when what it brought about is committed. One that can't be taken is
parked, which is a commit too, so that it holds up nobody.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from time import monotonic
from typing import Any

from django.db import InterfaceError, OperationalError, connections, transaction
from rest_framework.exceptions import ValidationError

from events.operations.chunks import Progress, in_short_transaction, silent
from relay import intake
from relay.intake import Unacceptable
from relay.parked import ERROR_LENGTH, PLACE_LENGTH, SOURCE_LENGTH, ParkedMessage
from relay.source import (
    Incoming,
    OpenSource,
    SourceInUse,
    SourceLost,
    SourceRefused,
    source_of,
    without_password,
)

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0


class Outcome(StrEnum):
    """What became of a message."""

    APPLIED = "applied"
    REPEATED = "repeated"  # its id was applied before
    PARKED = "parked"


@dataclass(slots=True)
class Tally:
    """How many messages of each outcome there were."""

    applied: int = 0
    repeated: int = 0
    parked: int = 0
    not_looked_at: int = 0  # by a dry run, to which the broker hands no more out

    def count(self, outcome: Outcome) -> None:
        """Count a message."""
        setattr(self, outcome, getattr(self, outcome) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How to read a source, and when to stop."""

    url: str
    stop: threading.Event
    idle_s: float | None = None  # stop when nothing has come for so long; None: never
    dry_run: bool = False  # apply nothing, park nothing, acknowledge nothing
    progress: Progress = silent


def consume(reading: Reading) -> Tally:
    """Take messages until told to stop. Return what became of them.

    While the broker or the database is away, or another reads what only one may, it waits and
    tries again. Raises BadURL, and SourceRefused where the broker does not let us read.
    """
    connect, tally, wait_s = source_of(reading.url), Tally(), 0.0
    while not reading.stop.is_set():
        began = monotonic()
        try:
            # First: nothing is fetched that would only be returned, which some queues count.
            connections["default"].ensure_connection()
            _read(reading, connect, tally)
            break
        except (SourceLost, OperationalError, InterfaceError) as error:
            if reading.dry_run and isinstance(error, SourceInUse):
                raise SourceRefused(f"{error}.") from error  # who only looks does not wait for it
            logger.warning("%s: %s. Trying again.", without_password(reading.url), error)
            connections.close_all()
            wait_s = _next_wait_s(wait_s, lasted_s=monotonic() - began)
            reading.stop.wait(wait_s)
    return tally


def take_again(parked: ParkedMessage) -> bool:
    """Take a parked message once more, and forget it where that works. Return whether it did."""
    incoming = Incoming(
        place=parked.place,
        content_type=parked.content_type,
        attributes=parked.attributes,
        body=bytes(parked.body),
        tag=None,
    )
    if _take(incoming, parked.source, dry_run=False) == Outcome.PARKED:
        return False
    ParkedMessage.objects.filter(pk=parked.pk).delete()
    return True


def _read(
    reading: Reading, connect: Callable[[], AbstractContextManager[OpenSource]], tally: Tally
) -> None:
    """Take messages over one connection, until it is time to stop."""
    shown = without_password(reading.url)
    with connect() as source:
        quiet_since = monotonic()
        while not reading.stop.is_set():
            incoming = source.take()
            for each in incoming:
                tally.count(_take(each, shown, dry_run=reading.dry_run))
            if incoming:
                quiet_since = monotonic()
                reading.progress(len(incoming))
                if not reading.dry_run:
                    source.acknowledge(incoming)
            elif reading.idle_s is not None and monotonic() - quiet_since >= reading.idle_s:
                break
        if reading.dry_run:
            tally.not_looked_at = source.left()


def _next_wait_s(wait_s: float, *, lasted_s: float) -> float:
    """Return how long to wait: longer each time, and short again after a while that was well."""
    if lasted_s > LONGEST_WAIT_S or not wait_s:
        return FIRST_WAIT_S
    return min(wait_s * 2, LONGEST_WAIT_S)


def _take(incoming: Incoming, source: str, *, dry_run: bool) -> Outcome:
    """Apply a message, or park it. Raises OperationalError and InterfaceError: neither was done."""
    try:
        event = intake.read(incoming)
        is_new = in_short_transaction(lambda: _apply(event, dry_run))
    except (OperationalError, InterfaceError):
        raise  # the database is away: the message is not to blame
    except Exception as error:  # whatever it is, it must not hold up those behind it
        if not dry_run:
            _park(incoming, source, error)
        return Outcome.PARKED
    return Outcome.APPLIED if is_new else Outcome.REPEATED


def _apply(event: intake.Event, dry_run: bool) -> bool:
    is_new = intake.apply(event)
    transaction.set_rollback(dry_run)
    return is_new


def _park(incoming: Incoming, source: str, error: Exception) -> None:
    """Keep a message with the reason why it was not taken."""
    if not isinstance(error, Unacceptable | ValidationError):
        logger.exception("A message of %s failed, and is parked.", incoming.place)
    kept: dict[str, Any] = {
        "source": _storable(source)[:SOURCE_LENGTH],
        "content_type": _storable(incoming.content_type)[:PLACE_LENGTH],
        "attributes": {
            _storable(name): _storable(value) for name, value in incoming.attributes.items()
        },
        "body": incoming.body,
    }
    digest = _digest(kept)
    place, reason = _storable(incoming.place), _storable(_reason(error))
    reason = reason[:ERROR_LENGTH]
    park = partial(
        ParkedMessage.objects.update_or_create,
        digest=digest,
        defaults={"error": reason},
        create_defaults={
            **kept,
            "digest": digest,
            "place": place[:PLACE_LENGTH],
            "error": reason,
        },
    )
    in_short_transaction(park)


def _digest(kept: dict[str, Any]) -> str:
    """Return what tells a message from others, in whatever order a database keeps attributes."""
    described = json.dumps({**kept, "body": kept["body"].hex()}, sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def _storable(text: str) -> str:
    """Return a text without what PostgreSQL stores in none."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _reason(error: Exception) -> str:
    """Return what was wrong, in words for an operator."""
    if isinstance(error, Unacceptable):
        return str(error)
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{name}: {', '.join(str(each) for each in errors)}"
            for name, errors in _by_field(error).items()
        )
    return f"{type(error).__name__}: {error}"


def _by_field(error: ValidationError) -> dict[str, list[Any]]:
    detail: Any = error.detail
    return detail if isinstance(detail, dict) else {"data": list(detail)}
