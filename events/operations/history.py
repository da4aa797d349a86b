"""What a load client was told: one JSON object a line, as `check_invariants --history` reads it.

`{"type": "invoke" | "ok" | "fail" | "info", "email": …, "t": …}`, with `id` where the answer had
one. `info` stands for an unknown outcome (a timeout, a cut connection). Other fields are ignored.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

TYPES = ("invoke", "ok", "fail", "info")


class MalformedHistory(Exception):
    """A line that is no part of a history. The text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One thing that a client did or was told."""

    number: int  # of the line, from 1
    type: str  # one of TYPES
    email: str  # as it was sent
    id: str | None  # of the account, where the answer named it


def read_history(lines: Iterable[str]) -> Iterator[HistoryLine]:
    """Parse a history; blank lines are skipped. Raises MalformedHistory."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _parse(number, line)


def _parse(number: int, line: str) -> HistoryLine:
    try:
        fields: Any = json.loads(line)
    except ValueError:
        raise MalformedHistory(f"Line {number} of the history is not JSON.") from None
    if not isinstance(fields, dict):
        raise MalformedHistory(f"Line {number} of the history is no JSON object.")
    if fields.get("type") not in TYPES:
        raise MalformedHistory(f"Line {number}: the type is none of {', '.join(TYPES)}.")
    email, account_id = fields.get("email"), fields.get("id")
    if not isinstance(email, str) or not email:
        raise MalformedHistory(f"Line {number} names no e-mail address.")
    if not isinstance(account_id, str | None):
        raise MalformedHistory(f"Line {number}: the id is no text.")
    return HistoryLine(number=number, type=fields["type"], email=email, id=account_id)
