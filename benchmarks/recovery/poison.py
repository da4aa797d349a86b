"""One event among a thousand that no receiver can take, and a neighbour who should not notice."""

import time
from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks.recovery.site import Site, seconds_until

EVENTS = 1000
POISONED = 500  # the number of the event
KINDS = ("raise", "exit_at_once", "hang")
ROUNDS = 5
NEIGHBOUR_RATE_PER_S = 20.0
ROUND_S = 15.0
RATIO_TARGET = 1.2
RECEIVER = "probe.record"
NEIGHBOUR = "probe.greet"
QUEUES = ("probe", "greetings")


def poisoned_by(kind: str, site: Site) -> dict[str, Any]:
    """Publish a thousand events, one of them poison, again and again with and without."""
    with_poison: list[dict[str, Any]] = []
    without: list[dict[str, Any]] = []
    _round(None)  # the first one of all finds everything cold
    for number in range(ROUNDS):
        # Now this one first and now the other: what comes later may be slower for that alone.
        turns = [(None, without), (kind, with_poison)]
        for poison, rounds in turns if number % 2 else reversed(turns):
            rounds.append(_round(poison))
    p95_ms, healthy_p95_ms = _median_p95_ms(with_poison), _median_p95_ms(without)
    ratio = p95_ms / healthy_p95_ms
    sound = all(run["dead"] == 1 and run["done"] == EVENTS - 1 for run in with_poison)
    return {
        "neighbour_p95_ratio": round(ratio, 2),
        "target": RATIO_TARGET,
        "ok": ratio <= RATIO_TARGET and sound,
        "dead_after_its_attempts_and_999_done": sound,
        "neighbour_p95_ms": {"with": p95_ms, "without": healthy_p95_ms},
        "of_each_round": {
            "with": [_p95_ms(run) for run in with_poison],
            "without": [_p95_ms(run) for run in without],
        },
        "all_done_s": {
            "with": [run["seconds"] for run in with_poison],
            "without": [run["seconds"] for run in without],
        },
    }


def _round(kind: str | None) -> dict[str, Any]:
    """Run one load, with one poisoned event or none, beside a neighbour's steady trickle."""
    from tests.probe.models import Fault
    from tests.processes import worker

    _forget_former_rounds()
    if kind:
        Fault.objects.create(number=POISONED, kind=kind)
    with worker(*QUEUES):
        _publish_to_neighbour()
        seconds_until(_neighbour_is_done, time.monotonic())  # both clusters are up by then
        started = time.monotonic()
        first = _publish_load()
        trickle_from = _trickle(started)
        settled_s = seconds_until(_is_settled, started, give_up_after_s=300)
        seconds_until(_neighbour_is_done, time.monotonic())
    return {
        "seconds": round(settled_s, 1),
        "latencies_s": _neighbour_latencies(trickle_from),
        **_outcomes(first),
    }


def _forget_former_rounds() -> None:
    """Begin with empty tables: whoever looks for what is left finds more with each round."""
    from django.db import transaction

    from events.models import Attempt, Delivery, Event
    from tests.probe.models import Effect, Fault, ProcessedEvent

    with transaction.atomic():
        for model in (Fault, Effect, ProcessedEvent, Attempt, Delivery, Event):
            model._base_manager.all().delete()


def _trickle(started: float) -> int:
    """Publish to the neighbour for ROUND_S at its rate; return the first event's position."""
    first = 0
    for number in range(int(ROUND_S * NEIGHBOUR_RATE_PER_S)):
        time.sleep(max(0.0, started + number / NEIGHBOUR_RATE_PER_S - time.monotonic()))
        position = _publish_to_neighbour()
        first = first or position
    return first


def _publish_load() -> int:
    from django.db import transaction

    from tests.probe.signals import Happened, happened

    with transaction.atomic():
        events = happened.publish_many(
            Happened(key=str(uuid4()), number=number) for number in range(EVENTS)
        )
        _forget_what_nobody_serves()
    return events[0].position


def _publish_to_neighbour() -> int:
    from django.db import transaction

    from accounts.signals import UserRegistered, user_registered

    with transaction.atomic():
        event = user_registered.publish(UserRegistered(user_id=uuid4(), inviter_id=None))
        _forget_what_nobody_serves()
    return event.position


def _forget_what_nobody_serves() -> None:
    """Delete deliveries to queues without a worker: whoever looks for what is left meets them."""
    from events.models import Delivery

    unserved = Delivery.objects.filter(due_at__isnull=False).exclude(queue__in=QUEUES)
    unserved._raw_delete(unserved.db)


def _deliveries(receiver: str, first_position: int) -> Any:
    from events.models import Delivery

    return Delivery.objects.filter(receiver=receiver, event__position__gte=first_position)


def _is_settled() -> bool:
    from events.models import Delivery

    unfinished = Delivery.objects.filter(queue="probe", finished_at=None)
    return not unfinished.exclude(state="dead").exists()


def _neighbour_is_done() -> bool:
    return not _deliveries(NEIGHBOUR, 0).filter(finished_at=None).exists()


def _outcomes(first: int) -> dict[str, int]:
    mine = _deliveries(RECEIVER, first)
    return {state: mine.filter(state=state).count() for state in ("done", "dead")}


def _neighbour_latencies(first: int) -> list[float]:
    rows = _deliveries(NEIGHBOUR, first).values_list("event__occurred_at", "finished_at")
    return [(finished - occurred).total_seconds() for occurred, finished in rows]


def _median_p95_ms(rounds: Sequence[dict[str, Any]]) -> float:
    """Return the median of the rounds' 95th percentiles: single rounds differ by half."""
    return median(_p95_ms(run) for run in rounds)


def _p95_ms(run: dict[str, Any]) -> float:
    """Return the 95th percentile of one round's latencies, in milliseconds."""
    ascending: list[float] = sorted(run["latencies_s"])
    return round(ascending[ceil(0.95 * len(ascending)) - 1] * 1000, 1)
