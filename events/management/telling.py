"""What commands tell: one JSON document on stdout, progress on a terminal's stderr."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, OutputWrapper


def write_json(out: OutputWrapper, document: dict[str, Any]) -> None:
    """Write a command's one document; ids become text, and times as RFC 3339 has them."""
    out.write(json.dumps(document, indent=2, default=_text, ensure_ascii=False))


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class Counter:
    """Shows on a terminal how far the work is, and nothing anywhere else."""

    def __init__(self, err: OutputWrapper) -> None:
        self._err = err
        self.total = 0

    def __call__(self, count: int) -> None:
        """Count a chunk that was done."""
        self.total += count
        self._show(f"\r{self.total} …")

    def clear(self) -> None:
        """Make room for the summary."""
        self._show("\r\x1b[K")

    def _show(self, text: str) -> None:
        if self._err.isatty():
            self._err.write(text, str, ending="")
            self._err.flush()


@contextmanager
def counted(err: OutputWrapper) -> Iterator[Counter]:
    """Show how far a block of chunks is. Ctrl-C in it ends the command with a word on what is done.

    Raises CommandError then: what is committed stays, and the same command does the rest.
    """
    counter = Counter(err)
    try:
        yield counter
    except KeyboardInterrupt:
        raise CommandError(
            f"Interrupted after {counter.total}. What is done stays; call it again for the rest."
        ) from None
    finally:
        counter.clear()
