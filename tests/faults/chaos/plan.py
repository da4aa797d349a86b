"""What goes wrong, and when: drawn from a seed before anything runs.

The same seed gives the same faults at the same places of the run, told by the number of people
registered so far. What the processes are doing at that moment is, of course, not determined.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

# How often each is chosen. A dead web server or supervisor takes seconds of a core to replace, a
# dead pusher some milliseconds.
KILLS: Mapping[str, int] = {
    "web": 12,
    "supervisor": 4,
    "sweep": 4,
    "cluster": 9,
    "sentinel": 9,
    "pusher": 26,
    "worker": 28,
    "monitor": 12,
}
FAULTS: Mapping[str, int] = {"pause worker": 4}
POSTGRES_FAULTS: Mapping[str, int] = {"terminate backend": 10, "restart postgres": 1}
REDIS_FAULTS: Mapping[str, int] = {"restart valkey": 1, "flush valkey": 3, "pause valkey": 1}
FAULTS_PER_KILL = 0.3
LONGEST_S = 3.0  # of a pause or an outage


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that goes wrong."""

    after: int  # registrations
    kind: str
    pick: float  # 0 to 1: which of the candidates there are at that moment
    for_s: float  # how long, where it lasts


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run."""

    seed: int
    registrations: int
    kills: tuple[Step, ...]
    faults: tuple[Step, ...]


def draw(*, seed: int, registrations: int, kills: int, database: str, broker: str) -> Plan:
    """Draw the plan of a run."""
    chance = random.Random(seed)  # noqa: S311
    faults = dict(FAULTS)
    if database == "postgres":
        faults |= POSTGRES_FAULTS
    if broker == "redis":
        faults |= REDIS_FAULTS
    return Plan(
        seed=seed,
        registrations=registrations,
        kills=_steps(chance, KILLS, kills, registrations),
        faults=_steps(chance, faults, round(kills * FAULTS_PER_KILL), registrations),
    )


def _steps(
    chance: random.Random, weights: Mapping[str, int], count: int, registrations: int
) -> tuple[Step, ...]:
    # Each kind once, as far as they go, and the rest by weight.
    kinds = chance.sample(list(weights), k=min(count, len(weights)))
    kinds += chance.choices(list(weights), weights=list(weights.values()), k=count - len(kinds))
    chance.shuffle(kinds)
    return tuple(
        Step(
            after=int((number + chance.random()) * registrations / count),
            kind=kind,
            pick=chance.random(),
            for_s=chance.uniform(0.2, LONGEST_S),
        )
        for number, kind in enumerate(kinds)
    )
