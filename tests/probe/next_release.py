"""The probe's next release: the second version of its event, and a receiver that is new.

Processes with PROBE_RELEASE=next run it, beside others that run the first.
"""

import os
from dataclasses import dataclass
from typing import Any

from events.envelope import Event
from events.receivers import background_receiver
from tests.probe.models import Effect, ProcessedEvent
from tests.probe.signals import happened

RELEASE = "PROBE_RELEASE"  # environment variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """Something happened to `key`, somewhere."""

    key: str
    number: int
    place: str


def install() -> None:
    """Become the next release, where the environment asks for it."""
    if os.environ.get(RELEASE) != "next":
        return
    happened.version = 2
    happened.data_class = Happened  # type: ignore[assignment]
    happened.upcast(from_version=1)(_add_place)
    background_receiver(happened, inbox=ProcessedEvent, name="probe.newcomer")(_welcome)


def _add_place(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "place": "nowhere"}


def _welcome(event: Event[Happened]) -> None:
    effect = Effect(receiver="newcomer", event_id=event.id, key=event.key, number=event.data.number)
    effect.save()
