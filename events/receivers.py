"""Connect a function to an event: `@background_receiver(user_registered, inbox=ProcessedEvent)`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, TypeVar

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from events import queue
from events.models import QUEUE_LENGTH, RECEIVER_LENGTH, AbstractProcessedEvent
from events.retry import RetrySchedule
from events.signals import EventSignal

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_TIME_LIMIT_S = 10.0


class Guarantee(StrEnum):
    """How often an effect happens when processes die."""

    EXACTLY_ONCE = "exactly_once"  # effects in our database, in one transaction with the inbox row
    AT_LEAST_ONCE = "at_least_once"  # effects outside it: may be repeated, always with the same id
    AT_MOST_ONCE = "at_most_once"  # never repeated: a failure is dead at once, outcome unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A function that reacts to events in the background. Its name is stored in rows: keep it."""

    name: str  # "coupons.issue_welcome_coupons"
    queue: str  # one cluster of workers serves one queue
    function: Callable[..., Any] = field(repr=False)
    signals: tuple[EventSignal[Any], ...] = field(repr=False)
    inbox: type[AbstractProcessedEvent] | None
    batch: bool
    guarantee: Guarantee
    retry: RetrySchedule
    time_limit_s: float  # of one call; the receiver is stopped and its work rolled back beyond it
    targeted: bool = False  # it is owed what `outbox.deliver_to` gives it, and nothing else

    def ring(self, sender: object, **kwargs: object) -> None:
        """Ring the bell of its queue. This is what the signal calls after the commit."""
        queue.ring(self.queue)


_receivers: dict[str, Receiver] = {}


def all_receivers() -> tuple[Receiver, ...]:
    """Return every connected receiver, in order of name."""
    return tuple(_receivers[name] for name in sorted(_receivers))


def get_receiver(name: str) -> Receiver:
    """Return a receiver by name. Raises KeyError where this release has none of that name."""
    return _receivers[name]


def queue_of(receiver: str, *, noted: str) -> str:
    """Return the queue whose workers serve a receiver: of one this release does not know, `noted`.

    What a delivery notes may be another release's: it is put right now and then.
    """
    known = _receivers.get(receiver)
    return known.queue if known else noted


def all_queues() -> tuple[str, ...]:
    """Return the queues that receivers name: one cluster of workers each."""
    return tuple(sorted({receiver.queue for receiver in _receivers.values()}))


def background_receiver(
    *signals: EventSignal[Any],
    inbox: type[AbstractProcessedEvent] | None = None,
    batch: bool = False,
    queue: str | None = None,
    name: str | None = None,
    guarantee: Guarantee = Guarantee.EXACTLY_ONCE,
    retry: RetrySchedule | None = None,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    targeted: bool = False,
) -> Callable[[F], F]:
    """Connect the decorated function to the signals, to run in a worker.

    It gets one `Event`, in a transaction of its own; with `batch=True` a sequence of them, in one
    transaction, sorted by position. Events of one key reach it in order.

    With `targeted=True` it listens to no signal: another receiver decides to whom an event goes,
    and calls `outbox.deliver_to`. It is called as `function(target, addressed)`, in a thread, side
    by side with other targets; it returns a verdict for each (see `events.delivery.targets`), and
    must keep to its time limit by itself.

    `inbox` is the app's concrete ProcessedEvent; an exactly-once receiver must have one.
    `queue` defaults to the app's label and `name` to "<app label>.<function name>".
    Raises ImproperlyConfigured where the declaration contradicts itself or the name is taken.
    """

    def connect(function: F) -> F:
        label = _app_label(function)
        receiver = Receiver(
            name=name or f"{label}.{function.__name__}",
            queue=queue or label,
            function=function,
            signals=signals,
            inbox=inbox,
            batch=batch,
            guarantee=Guarantee(guarantee),
            retry=retry or RetrySchedule(),
            time_limit_s=time_limit_s,
            targeted=targeted,
        )
        _refuse_contradictions(receiver)
        connect_receiver(receiver)
        return function

    return connect


def connect_receiver(receiver: Receiver) -> None:
    """Make a receiver known. Connecting the same function again is harmless."""
    known = _receivers.get(receiver.name)
    if known and known.function is not receiver.function:
        raise ImproperlyConfigured(f"Two receivers are named {receiver.name!r}. Give one `name=`.")
    _receivers[receiver.name] = receiver
    for signal in receiver.signals:
        signal.queues_by_receiver[receiver.name] = receiver.queue
        signal.connect(receiver.ring, weak=False, dispatch_uid=receiver.name)


def disconnect_receiver(name: str) -> None:
    """Forget a receiver (for tests; its open deliveries stay as they are)."""
    receiver = _receivers.pop(name)
    for signal in receiver.signals:
        del signal.queues_by_receiver[name]
        signal.disconnect(dispatch_uid=name)


def _app_label(function: Callable[..., Any]) -> str:
    config = apps.get_containing_app_config(function.__module__)
    return config.label if config else function.__module__.partition(".")[0]


def _refuse_contradictions(receiver: Receiver) -> None:
    exactly_once = receiver.guarantee is Guarantee.EXACTLY_ONCE
    problems = {
        "names no signal": not receiver.signals and not receiver.targeted,
        "is targeted, so it names no signal and is at_least_once": receiver.targeted
        and (bool(receiver.signals) or receiver.guarantee is not Guarantee.AT_LEAST_ONCE),
        "is `async def` or yields, so calling it would run nothing; make it an ordinary function": (
            iscoroutinefunction(receiver.function)
            or isgeneratorfunction(receiver.function)
            or isasyncgenfunction(receiver.function)
        ),
        "is exactly_once and needs `inbox=`, its app's ProcessedEvent": exactly_once
        and receiver.inbox is None,
        "takes batches, which only exactly_once receivers can": receiver.batch and not exactly_once,
        f"has a name over {RECEIVER_LENGTH} characters": len(receiver.name) > RECEIVER_LENGTH,
        f"has a queue over {QUEUE_LENGTH} characters": len(receiver.queue) > QUEUE_LENGTH,
    }
    for problem, applies in problems.items():
        if applies:
            raise ImproperlyConfigured(f"The receiver {receiver.name!r} {problem}.")
