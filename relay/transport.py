"""What a transport is: one module in `relay.transports` with SCHEMES, `check` and `send`.

    SCHEMES = ("amqp", "amqps")

    def check(url: SplitResult) -> None: ...

    def send(destination: Destination, batch: Sequence[Message]) -> list[Result]: ...

`check` raises BadURL for what can't be sent to. `send` returns one result for each message it
tried, in order; those after were not tried. No two messages of a batch have the same key. It begins
nothing after `destination.begin_until`, and ends within TOTAL_S of its last beginning.
"""

import pkgutil
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from types import ModuleType
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from django.utils.translation import gettext as _

TOTAL_S = 15.0  # of one exchange with another system, from the look-up of its name to its answer
EXCERPT_LENGTH = 500
MASK = "***"

# What stands as it is in a header of HTTP: printable ASCII but for space, " and %.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event in the form it leaves in, the same at every attempt."""

    id: str
    type: str
    key: str
    body: bytes  # a CloudEvents 1.0 object in structured JSON
    attributes: Mapping[str, str]  # of the same object, for those who read no bodies

    def headers(self, prefix: str) -> dict[str, str]:
        """Return the attributes under the names that a protocol's binary mode would give them.

        The bindings of CloudEvents allow them beside a structured body as well.
        """
        return {prefix + name: value for name, value in self.attributes.items()}

    def percent_encoded_headers(self, prefix: str) -> dict[str, str]:
        """Return the same for protocols whose headers hold printable ASCII only.

        See https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values.
        """
        return {name: quote(value, safe=_PLAIN) for name, value in self.headers(prefix).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where to send. Never log it: the URL has the password in it."""

    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)  # the newest first
    begin_until: float  # monotonic seconds

    def masked(self, result: "Result") -> "Result":
        """Return a result whose text has nothing in it that only we and the other side know.

        Some servers repeat what they do not understand, which may be our login. The text is cut
        here, to what is kept of it: half a password would not be found.
        """
        if result is None:
            return None
        text, password = result.text, urlsplit(self.url).password or ""
        for confidential in filter(None, (unquote(password), password, *self.secrets)):
            text = text.replace(confidential, MASK)
        return replace(result, text=text[:EXCERPT_LENGTH])


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why the other side does not have a message."""

    text: str  # in words, with the answer
    is_unreachable: bool = False  # it hangs or is away: it had better be left alone for a while
    is_gone: bool = False  # it wants no more, ever
    retry_after_s: float | None = None  # what it asked for


Result = Failed | None
Send = Callable[[Destination, Sequence[Message]], list[Result]]


class BadURL(ValueError):
    """A URL can't be sent to. The text is a whole sentence for whoever typed it."""


@cache
def transports() -> dict[str, ModuleType]:
    """Return every transport, by scheme."""
    package = import_module("relay.transports")
    modules = [
        import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {scheme: module for module in modules for scheme in module.SCHEMES}


def transport_for(url: str) -> Send:
    """Return how to send to a URL. Raises KeyError where no transport has its scheme."""
    send: Send = transports()[urlsplit(url).scheme].send
    return send


def options(url: SplitResult, **defaults: str) -> dict[str, str]:
    """Return what a URL says behind `?`, by name, or else the default. Raises BadURL for others."""
    try:
        given = parse_qs(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
    except ValueError:
        raise BadURL(_("What is behind ? is not of the form name=value.")) from None
    unknown = sorted(given.keys() - defaults.keys())
    if unknown:
        raise BadURL(
            _("A URL with %(scheme)s:// has no option %(unknown)s; it has: %(known)s.")
            % {
                "scheme": url.scheme,
                "unknown": ", ".join(unknown),
                "known": ", ".join(sorted(defaults)) or "-",
            }
        )
    return {**defaults, **{name: values[-1] for name, values in given.items()}}


def unreachable(url: SplitResult, error: BaseException) -> Failed:
    """Return that an exchange broke off, and on what."""
    text = f"{url.hostname}: {type(error).__name__}: {error}"
    return Failed(text=text, is_unreachable=True)


def bracketed(host: str) -> str:
    """Return a host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


@cache
def tls() -> ssl.SSLContext:
    """Return the context of every TLS connection: it trusts whom the system trusts.

    OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR name others, such as a company's own authority.
    """
    return ssl.create_default_context()
