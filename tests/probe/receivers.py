"""Receivers that record their effects, and fail as `Fault` rows tell them."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from django.db import connection

from accounts.signals import UserRegistered, user_registered
from events.envelope import Event
from events.receivers import Guarantee, background_receiver
from events.retry import PermanentFailure, RetryLater, RetrySchedule
from tests.probe.models import Effect, Fault, ProcessedEvent
from tests.probe.signals import Happened, followed, happened

FEW = RetrySchedule(max_attempts=3, first_delay_s=5, max_delay_s=5)


class Broken(Exception):
    """A fault that a test asked for."""


@background_receiver(happened, inbox=ProcessedEvent, retry=FEW)
def record(event: Event[Happened]) -> None:
    """Record the event, in a transaction of its own, and publish a follow-on."""
    _record("record", event)
    followed.publish(Happened(key=event.key, number=event.data.number))


@background_receiver(happened, inbox=ProcessedEvent, retry=FEW, batch=True)
def record_batch(events: Sequence[Event[Happened]]) -> None:
    """Record many events in one transaction."""
    Effect.objects.bulk_create(_effect("record_batch", event) for event in events)
    _misbehave([event.data.number for event in events])


@background_receiver(happened, guarantee=Guarantee.AT_LEAST_ONCE, retry=FEW, queue="outside")
def call_outside(event: Event[Happened]) -> None:
    """Stand for a call that leaves the system."""
    _record("call_outside", event)


@background_receiver(happened, guarantee=Guarantee.AT_MOST_ONCE, retry=FEW, queue="outside")
def call_once(event: Event[Happened]) -> None:
    """Stand for a call that must not be repeated."""
    _record("call_once", event)


@background_receiver(user_registered, inbox=ProcessedEvent, queue="greetings")
def greet(event: Event[UserRegistered]) -> None:
    """React to a registration, of which neither accounts nor any other app knows."""
    Effect.objects.create(receiver="greet", event_id=event.id, key=event.key, number=0)


def _record(receiver: str, event: Event[Happened]) -> None:
    _effect(receiver, event).save()
    _misbehave([event.data.number])


def _effect(receiver: str, event: Event[Happened]) -> Effect:
    return Effect(receiver=receiver, event_id=event.id, key=event.key, number=event.data.number)


def _misbehave(numbers: list[int]) -> None:
    for kind in Fault.objects.filter(number__in=numbers).values_list("kind", flat=True):
        FAULTS[kind]()


def _raise() -> None:
    raise Broken("told to fail by someone@example.com")


def _fail_for_good() -> None:
    raise PermanentFailure("never")


def _ask_for_later() -> None:
    raise RetryLater(0.05)


def _swallow_and_hang() -> None:
    while True:
        try:
            time.sleep(60)
        except Exception:  # noqa: S112  # what a careless receiver does
            continue


def _wait_in_the_database() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")
    time.sleep(60)


def _raise_unencodable() -> None:
    raise Broken("a lone surrogate: \ud800")


def _work_slowly() -> None:
    time.sleep(0.1)  # stands for work


FAULTS: dict[str, Callable[[], None]] = {
    "slow": _work_slowly,
    "slow_sql": _wait_in_the_database,
    "unencodable": _raise_unencodable,
    "raise": _raise,
    "permanent": _fail_for_good,
    "later": _ask_for_later,
    "hang": _swallow_and_hang,
    "exit": sys.exit,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
