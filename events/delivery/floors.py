"""From where on to look for what is due: the index of it begins with what is dead.

On PostgreSQL every delivery that was ever due leaves entries in that index until a vacuum, which
beside a long history comes after millions of them, and a search from the beginning passes all. So
a process remembers where it found the first, and begins there. Now and then it looks from the
beginning again: what was committed late, or was given an old time, is found then. SQLite leaves
nothing behind, and has no floors.
"""

import time
from datetime import UTC, datetime, timedelta

LOOK_FROM_THE_BEGINNING_EVERY_S = 10.0
LOOK_BACK_S = 10.0  # what was due for so long as it was committed is found at once
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)

_floors: dict[str, tuple[datetime, float]] = {}  # by receiver: the floor, and until when it holds


def floor_of(receiver: str) -> datetime:
    """Return the moment before which nothing of a receiver was due when this process looked."""
    floor, until_s = _floors.get(receiver, (BEGINNING, 0.0))
    return floor if time.monotonic() < until_s else BEGINNING


def note_first(receiver: str, first: datetime | None, now: datetime) -> None:
    """Note what a look from the beginning has found: when the first is due, if there is any.

    `now` is the database's.
    """
    floor = min(now, first or now) - timedelta(seconds=LOOK_BACK_S)
    _floors[receiver] = floor, time.monotonic() + LOOK_FROM_THE_BEGINNING_EVERY_S
