"""The event catalogue as people read it: lines for a terminal, a diagram, a page."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from events.operations.catalog import Catalogue, EventEntry, ReceiverEntry

BROAD = 12  # types: who listens to more is drawn with one arrow, or the diagram shows nothing else

_NOTE = (
    "Made from the declarations by `make catalogue`; a test fails where it is not up to date. "
    "`manage.py event_catalog` prints the same, `--format json` and `--format asyncapi` for "
    "programs ([asyncapi.json](asyncapi.json))."
)


def text_of(catalogue: Catalogue) -> str:
    """Return the catalogue as lines for a terminal."""
    by_name = {receiver.name: receiver for receiver in catalogue.receivers}
    lines: list[str] = []
    for event in catalogue.events:
        lines += [
            f"{event.type} v{event.version}, published by {event.app}, in order per {event.key}"
        ]
        lines += [f"    {line}" for line in event.description.splitlines() if line]
        for name, type_, comment in fields_of(catalogue, event):
            lines += [f"    {name:<16} {type_:<16} {comment}".rstrip()]
        for receiver in (by_name[name] for name in event.receivers):
            lines += [f"    → {receiver.name}: {terms_of(receiver)}"]
        lines += [""]
    for receiver in (each for each in catalogue.receivers if each.targeted):
        lines += [f"{receiver.name}, targeted: {terms_of(receiver)}", f"    {receiver.description}"]
    return "\n".join(lines).rstrip()


def mermaid_of(catalogue: Catalogue) -> str:
    """Return the catalogue as a Mermaid flow chart: events at the left, receivers at the right."""
    lines = ["flowchart LR"]
    for app in dict.fromkeys(event.app for event in catalogue.events):
        events = [event for event in catalogue.events if event.app == app]
        lines += [f'  subgraph {_id("by", app)}["published by {app}"]']
        lines += [f'    {_id("event", e.type)}(["{e.type} v{e.version}"])' for e in events]
        lines += ["  end"]
    for queue in dict.fromkeys(receiver.queue for receiver in catalogue.receivers):
        receivers = [each for each in catalogue.receivers if each.queue == queue]
        lines += [f'  subgraph {_id("queue", queue)}["queue {queue}"]']
        lines += [f'    {_id("receiver", r.name)}["{r.name}"]' for r in receivers]
        lines += ["  end"]
    return "\n".join([*lines, *_arrows(catalogue)])


def markdown_of(catalogue: Catalogue) -> str:
    """Return the page that is kept in docs/."""
    return "\n".join(
        [
            "# The event catalogue",
            "",
            _NOTE,
            "",
            "```mermaid",
            mermaid_of(catalogue),
            "```",
            "",
            "## Events",
            "",
            *(line for event in catalogue.events for line in _section(catalogue, event)),
            "## Receivers",
            "",
            "| receiver | guarantee | queue | takes | a call has | tried | audit |",
            "|---|---|---|---|---|---|---|",
            *(_row(receiver) for receiver in catalogue.receivers),
            "",
            "## Ways out of the house",
            "",
            *(f"- **{c.title}** (`{c.name}`): {c.description}" for c in catalogue.channels),
            "",
            "## Ways into it",
            "",
            *(f"- **{c.title}** (`{c.name}`): {c.description}" for c in catalogue.inbound),
        ]
    )


def fields_of(catalogue: Catalogue, event: EventEntry) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and comment of each field of an event's data."""
    for name, schema in catalogue.schemas[event.schema]["properties"].items():
        yield name, type_in(schema), schema.get("description", "")


def type_in(schema: dict[str, Any]) -> str:
    """Return the type that a JSON Schema describes, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition(".")[2])
    if "anyOf" in schema:
        return " or ".join(type_in(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {type_in(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "anything")


def terms_of(receiver: ReceiverEntry) -> str:
    """Return on which terms a receiver works, in a line."""
    terms = [receiver.guarantee.value, f"queue {receiver.queue}", _takes(receiver)]
    audit = "audited" if receiver.is_audited else "no audit"
    return ", ".join([*terms, f"{receiver.time_limit_s:g} s a call", tries_of(receiver), audit])


def tries_of(receiver: ReceiverEntry) -> str:
    """Return how often a receiver is tried."""
    retry = receiver.retry
    if retry is None:
        return "once"
    return (
        f"{retry.max_attempts} times, after {retry.first_delay_s:g} s, "
        f"×{retry.factor:g} up to {retry.max_delay_s:g} s"
    )


def _takes(receiver: ReceiverEntry) -> str:
    if receiver.targeted:
        return "what is addressed to a target"
    return "batches" if receiver.batch else "one event at a time"


def _section(catalogue: Catalogue, event: EventEntry) -> Iterator[str]:
    yield f"### {event.type}"
    yield ""
    yield event.description
    yield ""
    read = ", ".join(str(version) for version in event.readable_versions)
    yield (
        f"Version {event.version} (readable: {read}), published by `{event.app}`, "
        f"in order per `{event.key}`."
    )
    yield ""
    yield "| field | type | |"
    yield "|---|---|---|"
    for name, type_, comment in fields_of(catalogue, event):
        yield f"| `{name}` | {type_} | {_cell(comment)} |"
    yield ""
    names = ", ".join(f"`{name}`" for name in event.receivers)
    yield f"Received by {names}." if names else "Nobody receives it."
    yield ""


def _row(receiver: ReceiverEntry) -> str:
    cells: Sequence[str] = (
        f"`{receiver.name}`<br>{_cell(receiver.description.partition(chr(10))[0])}",
        receiver.guarantee.value,
        receiver.queue,
        _takes(receiver),
        f"{receiver.time_limit_s:g} s",
        tries_of(receiver),
        "yes" if receiver.is_audited else "no",
    )
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _arrows(catalogue: Catalogue) -> Iterator[str]:
    for receiver in catalogue.receivers:
        if len(receiver.types) > BROAD:
            hub = f'{_id("all", receiver.name)}(("any of {len(receiver.types)} types"))'
            yield f"  {hub} --> {_id('receiver', receiver.name)}"
        else:
            for type_ in receiver.types:
                yield f"  {_id('event', type_)} --> {_id('receiver', receiver.name)}"


def _id(kind: str, name: str) -> str:
    """Return a node's id: of letters, digits and underscores, and no word of Mermaid's own."""
    return f"{kind}_{re.sub(r'[^A-Za-z0-9]', '_', name)}"
