"""How long what is due may wait for a worker before it is an alarm: by default, and by receiver."""

from django.conf import settings


def threshold_s(receiver: str) -> int:
    """Return a receiver's threshold in seconds; 0: it is never overdue."""
    own: int | None = _own().get(receiver)
    default: int = settings.ALARM_OVERDUE_S
    return default if own is None else own


def mistyped() -> list[str]:
    """Return the entries of ALARM_OVERDUE_S_BY_RECEIVER that are no RECEIVER=SECONDS."""
    return [entry for entry in settings.ALARM_OVERDUE_S_BY_RECEIVER if _parsed(entry) is None]


def named() -> set[str]:
    """Return the receivers that have a threshold of their own."""
    return set(_own())


def _own() -> dict[str, int]:
    parsed = map(_parsed, settings.ALARM_OVERDUE_S_BY_RECEIVER)
    return dict(pair for pair in parsed if pair is not None)


def _parsed(entry: str) -> tuple[str, int] | None:
    name, equals, seconds = (part.strip() for part in entry.partition("="))
    if not (name and equals and seconds.isascii() and seconds.isdigit()):
        return None
    return name, int(seconds)
