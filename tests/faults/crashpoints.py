"""Named points at which a process kills itself: `CRASHPOINT=effect.after:1 manage.py worker`.

A point is one side of one call. It is passed when the call is made with something to do: a call
with an empty list does not count. `CRASHPOINT=name:n` kills the process by SIGKILL at the n-th
passage; several are separated by commas. With `CRASHPOINT_NOTES` set to a directory, each name
kills one process only, and leaves a file of its name there: else what is started again in the
place of the dead would die too.
"""

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from itertools import count
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from django.db import connection

VARIABLE = "CRASHPOINT"
NOTES = "CRASHPOINT_NOTES"


class Side(StrEnum):
    """Where in a call to die."""

    BEFORE = "before"
    INSIDE = "inside"  # after the first statement it sends to the database
    AFTER = "after"


class Stage(StrEnum):
    """What passes the point."""

    REGISTRATION = "registration"
    DRAIN = "drain"  # of any receiver
    EFFECT_BLOCK = "effect block"  # the part of a drain that only exactly-once receivers have
    FAILURE = "failure"  # a drain whose receiver raises
    HAND_BACK = "hand back"  # a drain whose receiver asks for later
    SWEEP = "sweep"  # after a worker died
    CLUSTER = "cluster"  # pusher and worker of a real cluster
    PERIODIC = "periodic"  # a real cluster's worker, after a call of periodic work
    CALL = "call"  # a drain of a targeted receiver: the relay's, to an endpoint over HTTP
    ANSWER = "answer"  # of another system, whichever way it comes in
    POST = "post"  # an answer that comes over the API
    CONSUME = "consume"  # an answer that `manage.py consume` takes from a broker
    PARK = "park"  # what `consume` can't take
    TIME_OUT = "time-out"  # a risk check that nobody answered


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A side of a call."""

    name: str
    stage: Stage
    side: Side
    where: str  # "module.attribute", as the caller looks it up
    holds_lease: bool = False  # dying here leaves a claimed delivery without a verdict


BEFORE, INSIDE, AFTER = Side.BEFORE, Side.INSIDE, Side.AFTER
_ALL = (
    CrashPoint("user.inserted", Stage.REGISTRATION, AFTER, "accounts.models.User.save"),
    CrashPoint("event.inserted", Stage.REGISTRATION, BEFORE, "events.outbox._deliveries"),
    CrashPoint(
        "deliveries.inserted", Stage.REGISTRATION, BEFORE, "events.outbox._announce_on_commit"
    ),
    CrashPoint(
        "registration.uncommitted", Stage.REGISTRATION, AFTER, "accounts.services._insert_rows"
    ),
    CrashPoint(
        "registration.committed", Stage.REGISTRATION, BEFORE, "events.outbox._Announcement.__call__"
    ),
    CrashPoint("bell.before", Stage.REGISTRATION, BEFORE, "events.queue._ring_now"),
    CrashPoint("bell.enqueued", Stage.REGISTRATION, AFTER, "events.queue._ring_now"),
    CrashPoint("claim.before", Stage.DRAIN, BEFORE, "events.delivery.drain.claim"),
    CrashPoint("attempt.counted", Stage.DRAIN, AFTER, "events.delivery.claim._lease"),
    CrashPoint("claim.committed", Stage.DRAIN, AFTER, "events.delivery.drain.claim", True),
    CrashPoint(
        "inbox.before",
        Stage.EFFECT_BLOCK,
        BEFORE,
        "events.delivery.effects._insert_into_inbox",
        True,
    ),
    CrashPoint(
        "inbox.inserted",
        Stage.EFFECT_BLOCK,
        AFTER,
        "events.delivery.effects._insert_into_inbox",
        True,
    ),
    CrashPoint("effect.before", Stage.DRAIN, BEFORE, "events.delivery.effects._call", True),
    CrashPoint("effect.inside", Stage.DRAIN, INSIDE, "events.delivery.effects._call", True),
    CrashPoint("effect.after", Stage.DRAIN, AFTER, "events.delivery.effects._call", True),
    CrashPoint("verdict.before", Stage.DRAIN, BEFORE, "events.delivery.settle.finish", True),
    CrashPoint("verdict.uncommitted", Stage.DRAIN, AFTER, "events.delivery.settle.finish", True),
    CrashPoint("verdict.committed", Stage.DRAIN, AFTER, "events.delivery.drain.apply"),
    CrashPoint("failure.before", Stage.FAILURE, BEFORE, "events.delivery.settle.fail", True),
    CrashPoint(
        "failure.uncommitted", Stage.FAILURE, BEFORE, "events.delivery.settle.record_attempt", True
    ),
    CrashPoint("failure.committed", Stage.FAILURE, AFTER, "events.delivery.settle.fail"),
    CrashPoint(
        "hand-back.before", Stage.HAND_BACK, BEFORE, "events.delivery.settle.hand_back", True
    ),
    CrashPoint("hand-back.committed", Stage.HAND_BACK, AFTER, "events.delivery.settle.hand_back"),
    CrashPoint("release.before", Stage.SWEEP, BEFORE, "events.delivery.leases._release"),
    CrashPoint("release.uncommitted", Stage.SWEEP, AFTER, "events.delivery.leases._count"),
    CrashPoint("release.committed", Stage.SWEEP, AFTER, "events.delivery.leases._release"),
    CrashPoint("sweep.rung", Stage.SWEEP, AFTER, "events.delivery.sweep.ring_due_queues"),
    CrashPoint(
        "bell.seen", Stage.CLUSTER, BEFORE, "events.delivery.broker.DatabaseBellBroker._take"
    ),
    CrashPoint(
        "bell.taken", Stage.CLUSTER, BEFORE, "events.delivery.broker.BellBroker._is_readable"
    ),
    CrashPoint("drain.called", Stage.CLUSTER, BEFORE, "events.delivery.drain.drain"),
    CrashPoint("drain.returned", Stage.CLUSTER, AFTER, "events.delivery.drain.drain"),
    CrashPoint(
        "answer.unforgotten",
        Stage.PERIODIC,
        BEFORE,
        "events.delivery.broker.DatabaseBellBroker.forget_calls",
    ),
    CrashPoint(
        "answer.forgotten",
        Stage.PERIODIC,
        AFTER,
        "events.delivery.broker.DatabaseBellBroker.forget_calls",
    ),
    CrashPoint("call.unclaimed", Stage.CALL, BEFORE, "events.delivery.targets.claim_for_a_target"),
    CrashPoint(
        "call.claimed", Stage.CALL, AFTER, "events.delivery.targets.claim_for_a_target", True
    ),
    CrashPoint("call.before", Stage.CALL, BEFORE, "events.delivery.targets._call", True),
    # The other system has the request, or will have it: it is written to the socket.
    CrashPoint(
        "call.sent", Stage.CALL, BEFORE, "relay.transports.webhook.Connection.getresponse", True
    ),
    CrashPoint(
        "call.answered", Stage.CALL, AFTER, "relay.transports.webhook.Connection.getresponse", True
    ),
    CrashPoint("call.noted", Stage.CALL, AFTER, "relay.health.note", True),
    CrashPoint("call.after", Stage.CALL, AFTER, "events.delivery.targets._call", True),
    CrashPoint("lane.asleep", Stage.CALL, BEFORE, "events.delivery.settle.wake_successors"),
    CrashPoint("call.settled", Stage.CALL, AFTER, "events.delivery.targets._finish"),
    CrashPoint("answer.before", Stage.ANSWER, BEFORE, "relay.risk_checks.receive_decision"),
    CrashPoint("answer.received", Stage.ANSWER, BEFORE, "relay.risk_checks._answer"),
    CrashPoint("answer.recorded", Stage.ANSWER, AFTER, "relay.risk_checks._answer"),
    CrashPoint("answer.committed", Stage.POST, AFTER, "relay.decisions.receive"),
    CrashPoint("message.taken", Stage.CONSUME, BEFORE, "relay.consuming._take"),
    CrashPoint("message.uncommitted", Stage.CONSUME, AFTER, "relay.consuming._apply"),
    CrashPoint("message.committed", Stage.CONSUME, AFTER, "relay.consuming._take"),
    CrashPoint(
        "message.acknowledged", Stage.CONSUME, AFTER, "relay.sources.amqp.Source.acknowledge"
    ),
    CrashPoint("park.before", Stage.PARK, BEFORE, "relay.consuming._park"),
    CrashPoint("park.inside", Stage.PARK, INSIDE, "relay.consuming._park"),
    CrashPoint("park.committed", Stage.PARK, AFTER, "relay.consuming._park"),
    CrashPoint("time-out.before", Stage.TIME_OUT, BEFORE, "relay.risk_checks._time_out"),
    CrashPoint("time-out.marked", Stage.TIME_OUT, BEFORE, "relay.risk_checks._requests"),
    CrashPoint("time-out.uncommitted", Stage.TIME_OUT, AFTER, "relay.risk_checks._time_out"),
    CrashPoint(
        "time-out.committed", Stage.TIME_OUT, AFTER, "relay.risk_checks.in_short_transaction"
    ),
)
CRASHPOINTS = {point.name: point for point in _ALL}


def points_of(*stages: Stage) -> tuple[CrashPoint, ...]:
    """Return the points of these stages."""
    return tuple(point for point in _ALL if point.stage in stages)


def install() -> None:
    """Arm what the environment names. Raises KeyError where there is no point of that name."""
    for wanted in filter(None, os.environ.get(VARIABLE, "").split(",")):
        name, _, passage = wanted.partition(":")
        arm(CRASHPOINTS[name], int(passage or 1))


def arm(point: CrashPoint, passage: int = 1) -> None:
    """Let this process die at the n-th passage of a point. There is no way back: see `forks`."""
    owner_name, _, attribute = point.where.rpartition(".")
    owner = resolve_name(owner_name)
    setattr(owner, attribute, _deadly(getattr(owner, attribute), point, passage))


def _deadly(original: Callable[..., Any], point: CrashPoint, passage: int) -> Callable[..., Any]:
    calls = count(1)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _has_nothing_to_do(args) or next(calls) != passage:
            return original(*args, **kwargs)
        if point.side is Side.BEFORE:
            die(point)
        with (
            connection.execute_wrapper(_then_die(point)) if point.side is INSIDE else nullcontext()
        ):
            answer = original(*args, **kwargs)
        die(point)
        return answer  # where another process has died at this point already

    return call


def _has_nothing_to_do(args: tuple[Any, ...]) -> bool:
    return bool(args) and isinstance(args[0], list) and not args[0]


def _then_die(point: CrashPoint) -> Callable[..., Any]:
    def execute(run: Callable[..., Any], *statement: Any) -> Any:
        answer = run(*statement)
        die(point)
        return answer

    return execute


def die(point: CrashPoint) -> None:
    """Kill this process, unless another has died at this point and left a note."""
    directory = os.environ.get(NOTES)
    if directory is not None:
        try:
            Path(directory, point.name).touch(exist_ok=False)
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
