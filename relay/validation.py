"""What an endpoint may be: clear refusals for everything else."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from events.signals import EventSignal, all_signals
from relay.addresses import is_allowed
from relay.endpoints import MAX_ATTEMPTS, MAX_WAIT_S, URL_LENGTH
from relay.signals import endpoint_disabled, test_requested
from relay.transport import BadURL, transports

_INTERNAL = {endpoint_disabled, test_requested}


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A URL, apart from the password that was in it."""

    url: str
    password: str | None  # None: there was none in it


def relayable_signals() -> list[EventSignal[Any]]:
    """Return the declared events that endpoints can ask for."""
    excluded = tuple(f"{app}." for app in settings.RELAY_EXCLUDED_APPS)
    return [s for s in all_signals() if s not in _INTERNAL and not s.type.startswith(excluded)]


def clean_location(text: str) -> Location:
    """Return a URL that can be sent to. Raises ValidationError (code `invalid_url`)."""
    url = _split(text)
    try:
        transports()[url.scheme].check(url)
    except BadURL as error:
        raise _invalid(str(error)) from None
    password = None if url.password is None else unquote(url.password)
    user, _at, place = url.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{place}" if user else place
    return Location(url=url._replace(netloc=netloc).geturl(), password=password)


def clean_event_types(types: Sequence[str]) -> list[str]:
    """Return event types, each once, sorted. Raises ValidationError where one is not known."""
    known = {signal.type for signal in relayable_signals()}
    unknown = sorted(set(types) - known)
    if unknown:
        raise ValidationError(
            _("There is no event type %(types)s."),
            code="unknown_event_type",
            params={"types": ", ".join(unknown)},
        )
    if not types:
        raise ValidationError(_("Choose at least one event type."), code="required")
    return sorted(set(types))


def clean_schedule(seconds: Sequence[int]) -> list[int]:
    """Return waiting times in seconds. Raises ValidationError."""
    if not isinstance(seconds, list | tuple) or not 1 <= len(seconds) <= MAX_ATTEMPTS:
        raise ValidationError(
            _("A schedule has 1 to %(limit)d waiting times."),
            code="invalid_schedule",
            params={"limit": MAX_ATTEMPTS},
        )
    if not all(_is_wait(each) for each in seconds):
        raise ValidationError(
            _("Each waiting time is a whole number of seconds from 0 to %(limit)d."),
            code="invalid_schedule",
            params={"limit": MAX_WAIT_S},
        )
    return list(seconds)


def _is_wait(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_WAIT_S


def _split(text: str) -> SplitResult:
    text = text.strip()
    if len(text) > URL_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise _invalid(
            _("A URL has at most %(limit)d visible ASCII characters.") % {"limit": URL_LENGTH}
        )
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  # raises where it is no number
    except ValueError:
        raise _invalid(_("This is not a URL.")) from None
    if url.scheme not in transports():
        raise _invalid(_one_of(transports()))
    if not url.hostname:
        raise _invalid(_("The URL names no host."))
    _require_allowed(url.hostname)
    return url


def _require_allowed(host: str) -> None:
    """Refuse a literal address at once; names are looked up at every connection."""
    try:
        ip_address(host)
    except ValueError:
        return
    if not is_allowed(host):
        raise _invalid(_("Events are not sent to private addresses."))


def _one_of(schemes: Collection[str]) -> str:
    names = ", ".join(f"{scheme}://" for scheme in sorted(schemes))
    return _("The URL must begin with one of: %(schemes)s.") % {"schemes": names}


def _invalid(sentence: str) -> ValidationError:
    return ValidationError(sentence, code="invalid_url")
