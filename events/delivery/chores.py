"""What the sweep does besides: work of other rooms and apps, every so many seconds.

Unlike work by the clock (`events.queue.schedule`) it needs no cluster and no queue: it goes on
while they are stuck, which it may be about. Every worker's sweep does it, side by side.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """A function that is to be called now and then."""

    name: str
    function: str  # the dotted path of a function that takes the queues that the worker serves
    every_s: float


_chores: dict[str, Chore] = {}


def chore(name: str, function: str, *, every_s: float) -> None:
    """Declare that the sweep is to call a function. Declare it in `ready()`.

    It is called with the queues of the worker, outside of a transaction, in every worker: it must
    be idempotent, quick, and harmless beside itself. What it raises is logged; it comes again.
    Raises ImproperlyConfigured where the name is taken.
    """
    declared = Chore(name=name, function=function, every_s=every_s)
    if _chores.setdefault(name, declared) != declared:
        raise ImproperlyConfigured(f"Two chores are named {name!r}.")


class Chores:
    """When each was last done here, and which fail."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._queues = queues
        self._done_at: dict[str, float] = {}
        self._failing: set[str] = set()

    def do_due(self) -> None:
        """Call what is due. Never raises: what fails is logged once, until it succeeds."""
        for each in _chores.values():
            now = time.monotonic()
            if now - self._done_at.get(each.name, -each.every_s) >= each.every_s:
                self._done_at[each.name] = now
                self._do(each)

    def _do(self, each: Chore) -> None:
        try:
            import_string(each.function)(self._queues)
        except Exception:
            if each.name not in self._failing:
                logger.exception("%r failed; it is tried again until it succeeds.", each.name)
            self._failing.add(each.name)
        else:
            self._failing.discard(each.name)
