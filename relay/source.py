"""What a source is: one module in `relay.sources` with SCHEMES, `check` and `Source`.

    SCHEMES = ("amqp", "amqps")

    def check(url: SplitResult) -> None: ...

    class Source: ...

`check` raises BadURL for what can't be read from. `Source(url)` is an `OpenSource`: entered it is
connected, and left it has let go of everything, so that what was not acknowledged comes again.
"""

import pkgutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, Self
from urllib.parse import SplitResult, urlsplit

from django.utils.translation import gettext as _

from relay.transport import BadURL

WAIT_S = 0.5  # for something to come, before the caller looks around


class SourceLost(Exception):
    """The broker is away, or the connection broke. It may come back."""


class SourceInUse(SourceLost):
    """Another reads it, where only one may. It may end."""


class SourceRefused(Exception):
    """The broker does not let us read: there is no such queue or topic, or the login is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """Something that came from a broker, as it came."""

    place: str  # where it came from, in words: a queue, or a topic with partition and offset
    content_type: str
    attributes: dict[str, str]  # of CloudEvents' binary mode, without their prefix
    body: bytes = field(repr=False)
    tag: Any  # by which the source acknowledges it
    flaw: str = ""  # why its headers can't be read


def unreadable(error: Exception, *, place: str, body: bytes, tag: Any) -> Incoming:
    """Return what came in where its headers can't be read: without them, to be parked."""
    flaw = f"Its headers can't be read: {type(error).__name__}: {error}"
    return Incoming(place=place, content_type="", attributes={}, body=body, tag=tag, flaw=flaw)


class OpenSource(Protocol):
    """A connection that messages come from, in order."""

    def take(self) -> Sequence[Incoming]:
        """Wait for WAIT_S at most; return what has come. Raises SourceLost and SourceRefused."""

    def left(self) -> int:
        """Return how many are there that don't come before what was taken is acknowledged.

        Raises SourceLost.
        """

    def acknowledge(self, incoming: Sequence[Incoming]) -> None:
        """Say that what was taken last need not come again. Raises SourceLost."""


class Connection:
    """What an open source is when it is entered and left; each kind opens and closes its own."""

    def __enter__(self) -> Self:
        """Connect. Raises SourceLost and SourceRefused."""
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Let go: what is not acknowledged comes again."""
        self._close()

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        """Let go of whatever there is, also of half a connection."""
        raise NotImplementedError


Open = Callable[[SplitResult], AbstractContextManager[OpenSource]]


@cache
def sources() -> dict[str, ModuleType]:
    """Return every kind of source, by scheme."""
    package = import_module("relay.sources")
    modules = [
        import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {scheme: module for module in modules for scheme in module.SCHEMES}


def source_of(text: str) -> Callable[[], AbstractContextManager[OpenSource]]:
    """Return what connects to a URL's queue or topic. Raises BadURL."""
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  # raises where it is no number
    except ValueError:
        raise BadURL(_("This is not a URL.")) from None
    module = sources().get(url.scheme)
    if module is None or not url.hostname:
        schemes = ", ".join(f"{scheme}://" for scheme in sorted(sources()))
        raise BadURL(_("The URL must begin with one of: %(schemes)s.") % {"schemes": schemes})
    module.check(url)
    return lambda: module.Source(url)


def without_password(text: str) -> str:
    """Return a URL as it may be shown."""
    url = urlsplit(text)
    return url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()
