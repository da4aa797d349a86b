"""What the probe publishes."""

from dataclasses import dataclass

from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """Something happened to `key`."""

    key: str
    number: int


happened = EventSignal("probe.happened", version=1, data=Happened, key="key")
followed = EventSignal("probe.followed", version=1, data=Happened, key="key")
