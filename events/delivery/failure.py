"""What is kept of a failure: a message without personal data, and a fingerprint to group by."""

import hashlib
import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from django.conf import settings

from events.logs import without_rows

MAX_MESSAGE_LENGTH = 2000
MAX_TRACEBACK_LENGTH = 8000

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed attempt, described for operators."""

    error_class: str
    message: str
    traceback: str
    fingerprint: str  # same class and same place in our code, whatever the message

    @property
    def summary(self) -> str:
        """One line for lists."""
        return f"{self.error_class}: {self.message}"[:200]


def describe(error: BaseException) -> Failure:
    """Describe an exception. E-mail addresses in its text are masked."""
    error_class = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    return Failure(
        error_class=error_class[:200],
        message=_masked(_text_of(error))[:MAX_MESSAGE_LENGTH],
        traceback=_masked("".join(traceback.format_exception(error)))[-MAX_TRACEBACK_LENGTH:],
        fingerprint=_fingerprint(error_class, error.__traceback__),
    )


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as worse:  # an exception that cannot say what it is must not hide itself
        return f"(its text could not be had: {type(worse).__name__})"


def _masked(text: str) -> str:
    """Mask e-mail addresses, and escape what a database cannot store."""
    storable = text.encode("utf-8", "backslashreplace").decode().replace("\x00", "␀")
    return mask_addresses(without_rows(storable))


def mask_addresses(text: str) -> str:
    """Hide every e-mail address in a text."""
    return _EMAIL.sub("…@…", text)


def _fingerprint(error_class: str, trace: TracebackType | None) -> str:
    """Hash the class and the innermost frame of our code, without line numbers: they move."""
    frames = [f for f in traceback.extract_tb(trace) if _is_ours(f.filename)]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""
    return hashlib.sha256(f"{error_class}|{place}".encode()).hexdigest()[:16]


def _is_ours(filename: str) -> bool:
    root = f"{settings.BASE_DIR}/"
    return (
        filename.startswith(root)
        and "site-packages" not in filename
        and not filename.startswith(f"{root}events/delivery/")
    )
