"""How `replay --preview` is read: by people, line by line as it runs, or as one JSON document."""

import json
from collections import Counter as Tally
from collections.abc import Iterable
from typing import Any

from django.core.management.base import OutputWrapper

from events.delivery.failure import mask_addresses
from events.management.telling import Counter, write_json
from events.operations.preview import Outcome, Preview
from events.operations.written import RowChange

HIDDEN = "(hidden)"
SECRET_WORDS = ("password", "secret", "token")  # of column names
VALUE_LENGTH = 60  # of one value in a line; JSON has them whole


def write_previews(out: OutputWrapper, previews: Iterable[Preview]) -> int:
    """Print the previews as they come, and a summary. Return how many would fail."""
    tally: Tally[Outcome] = Tally()
    for preview in previews:
        tally[preview.outcome] += 1
        for line in _lines(preview):
            out.write(line)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in tally.most_common())
    out.write(f"{tally.total()} deliveries previewed{': ' if counts else ''}{counts}.")
    out.write("Nothing was written. Ids and codes made anew will differ when it runs for good.")
    return tally[Outcome.FAILS]


def write_previews_as_json(
    out: OutputWrapper, previews: Iterable[Preview], counter: Counter
) -> int:
    """Print one document. Return how many would fail."""
    documents = []
    for preview in previews:
        documents.append(_document(preview))
        counter(1)
    counter.clear()
    tally = Tally(document["outcome"] for document in documents)
    write_json(out, {"preview": True, "outcomes": dict(tally), "deliveries": documents})
    return tally[Outcome.FAILS]


def _lines(preview: Preview) -> Iterable[str]:
    yield f"{preview.receiver}  {preview.event}  {preview.outcome}" + (
        f": {preview.detail}" if preview.detail else ""
    )
    for row in preview.rows:
        yield f"  {_line(row)}"
    for mail in preview.mails:
        yield f"  mail {mail}"
    for statement in preview.not_followed:
        yield f"  not shown, for it cannot be followed: {statement}"


def _line(row: RowChange) -> str:
    if row.before is None:
        return f"insert {row.model} {row.key}: {_pairs(row.after, row.key_name)}"
    if row.after is None:
        return f"delete {row.model} {row.key}: {_pairs(row.before, row.key_name)}"
    steps = (f"{n}={_text(n, row.before[n])} → {_text(n, row.after[n])}" for n in row.after)
    return f"update {row.model} {row.key}: {', '.join(steps)}"


def _pairs(values: dict[str, Any] | None, key_name: str) -> str:
    """Return the columns that say something: not the key again, nor what is empty."""
    said = {n: v for n, v in (values or {}).items() if n != key_name and v not in (None, "")}
    return ", ".join(f"{name}={_text(name, value)}" for name, value in said.items())


def _text(name: str, value: Any) -> str:
    shown = _shown(name, value)
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    return text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 1]}…"


def _shown(name: str, value: Any) -> Any:
    """Return a column's value as JSON types, without secrets and e-mail addresses."""
    if value is not None and any(word in name for word in SECRET_WORDS):
        return HIDDEN
    return json.loads(mask_addresses(json.dumps(value, default=str, ensure_ascii=False)))


def _document(preview: Preview) -> dict[str, Any]:
    return {
        "id": str(preview.delivery),
        "receiver": preview.receiver,
        "event": str(preview.event),
        "type": preview.type,
        "outcome": preview.outcome,
        "detail": preview.detail,
        "rows": [_row(row) for row in preview.rows],
        "mails": preview.mails,
        "not_followed": preview.not_followed,
    }


def _row(row: RowChange) -> dict[str, Any]:
    return {
        "model": row.model,
        "key": str(row.key),
        "before": _values(row.before),
        "after": _values(row.after),
    }


def _values(values: dict[str, Any] | None) -> dict[str, Any] | None:
    return values and {name: _shown(name, value) for name, value in values.items()}
