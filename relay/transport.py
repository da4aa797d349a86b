"""What a transport is: one module in `relay.transports` with SCHEMES and `send`.

    SCHEMES = ("amqp", "amqps")

    def send(destination: Destination, batch: Sequence[Message]) -> list[Result]: ...

`send` returns one result for each message it tried, in order; those after were not tried. No two
messages of a batch have the same key. It begins nothing after `destination.begin_until`, and ends
within TOTAL_S of its last beginning.
"""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from urllib.parse import urlsplit

TOTAL_S = 15.0  # of one exchange with another system, from the look-up of its name to its answer
EXCERPT_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event in the form it leaves in, the same at every attempt."""

    id: str
    type: str
    key: str
    body: bytes  # a CloudEvents 1.0 object in structured JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where to send. Never log it: the URL has the password in it."""

    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)  # the newest first
    begin_until: float  # monotonic seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why the other side does not have a message."""

    text: str  # in words, with an excerpt of the answer
    is_unreachable: bool = False  # it hangs or is away: it had better be left alone for a while
    is_gone: bool = False  # it wants no more, ever
    retry_after_s: float | None = None  # what it asked for


Result = Failed | None
Send = Callable[[Destination, Sequence[Message]], list[Result]]


@cache
def transports() -> dict[str, Send]:
    """Return every transport's `send`, by scheme."""
    package = import_module("relay.transports")
    modules = [
        import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {scheme: module.send for module in modules for scheme in module.SCHEMES}


def transport_for(url: str) -> Send:
    """Return how to send to a URL. Raises KeyError where no transport has its scheme."""
    return transports()[urlsplit(url).scheme]
