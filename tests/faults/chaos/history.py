"""What a client asked for and was told, one JSON object per line, in the order of its telling.

`invoke` is written before a request is sent. Each is followed by `ok` (it was said to be stored),
`fail` (it was said not to be, or never sent), or `info` (nobody can tell: it may be stored).
"""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]


class History:
    """A file that threads write lines to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", buffering=1)
        self._lock = threading.Lock()

    def add(self, type_: str, email: str, **details: Any) -> None:
        """Write a line. `t` is the wall clock, in seconds."""
        line = json.dumps({"type": type_, "email": email, "t": round(time.time(), 3), **details})
        with self._lock:
            self._file.write(line + "\n")

    def close(self) -> None:
        """End the file."""
        self._file.close()


def read(path: Path) -> list[Line]:
    """Return the lines of a history."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass(frozen=True, slots=True)
class Told:
    """What the clients know in the end."""

    stored: dict[str, str | None]  # the address of each `ok`, with the id if one was told
    refused: set[str]  # nothing but `fail`
    unknown: set[str]  # an `info`, and never an `ok`


def told(history: Iterable[Line]) -> Told:
    """Return what a history comes to, by address."""
    stored: dict[str, str | None] = {}
    outcomes: dict[str, set[str]] = {}
    for line in history:
        outcomes.setdefault(line["email"], set()).add(line["type"])
        if line["type"] == "ok":
            stored[line["email"]] = line.get("id") or stored.get(line["email"])
    others = {email: kinds for email, kinds in outcomes.items() if email not in stored}
    refused = {email for email, kinds in others.items() if kinds == {"invoke", "fail"}}
    return Told(stored=stored, refused=refused, unknown=others.keys() - refused)
