"""What was ever published stays readable: recorded payloads of every version of every event.

`payloads/<type>.v<version>.json` holds the JSON Schema of a published version and recorded examples
of its data. A file is never changed once its version was released: change the data class, raise the
version, lift the old one with `@signal.upcast(from_version=…)`, and add a file for the new one.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from events.envelope import to_json
from events.models import Event
from events.signals import EventSignal, all_signals, get_signal

PAYLOADS = Path(__file__).with_name("payloads")
FILES = sorted(PAYLOADS.glob("*.json"))
SHIPPED = [signal for signal in all_signals() if not signal.type.startswith("probe.")]


def path_of(signal: EventSignal[Any]) -> Path:
    return PAYLOADS / f"{signal.type}.v{signal.version}.json"


def schema_of(signal: EventSignal[Any]) -> Any:
    """Return the JSON Schema of a signal's data: what travels, without the words about it."""
    [reference], components = msgspec.json.schema_components([signal.data_class])
    schema = components[reference["$ref"].rpartition("/")[2]]
    return {name: schema[name] for name in ("properties", "required")}


@pytest.mark.parametrize("signal", SHIPPED, ids=lambda signal: signal.type)
def test_the_declared_version_of_each_event_is_recorded_as_it_is(signal: EventSignal[Any]) -> None:
    path, schema = path_of(signal), schema_of(signal)
    content = json.dumps({"schema": schema, "examples": [{"…": "…"}]}, indent=2)

    assert path.exists(), f"{signal} has no recorded payload. Write {path.name}:\n{content}"
    recorded = json.loads(path.read_text())

    assert recorded["schema"] == schema, (
        f"The data of {signal} has changed: what is recorded would no longer be what it says. "
        "Raise its version, lift the old one with upcast, and record the new one."
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_payloads_of_every_published_version_are_readable(path: Path) -> None:
    type_, _, version = path.stem.rpartition(".v")
    signal, examples = get_signal(type_), json.loads(path.read_text())["examples"]
    assert examples

    for example in examples:
        event = signal.read(
            Event(
                position=1,
                type=type_,
                version=int(version),
                key="k",
                data=example,
                occurred_at=timezone.now(),
            )
        )

        assert isinstance(event.data, signal.data_class)
        if int(version) == signal.version:
            assert to_json(event.data) == example


def test_no_recorded_type_has_lost_its_declaration() -> None:
    recorded = {path.stem.rpartition(".v")[0] for path in FILES}

    assert recorded <= {signal.type for signal in all_signals()}
