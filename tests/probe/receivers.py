"""Receivers that record their effects, and fail as `Fault` rows tell them."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from django.conf import settings
from django.db import OperationalError, connection

from accounts.signals import UserRegistered, user_registered
from events.envelope import Event
from events.receivers import Guarantee, background_receiver
from events.retry import PermanentFailure, RetryLater, RetrySchedule
from tests.probe.models import Effect, Fault, ProcessedEvent
from tests.probe.signals import Happened, followed, happened

MEGABYTE = 1024 * 1024
HELD = "held"  # the file under var/ that holds receivers while it is there
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


def _swallow_everything() -> None:
    while True:
        try:
            while True:
                time.sleep(60)
        except BaseException:  # noqa: S112  # not even the time limit ends it
            continue


def _interrupt() -> None:
    raise KeyboardInterrupt


def _close_generator() -> None:
    raise GeneratorExit


def _recurse() -> None:
    _recurse()


def _eat_memory() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 64 * MEGABYTE, hard))
    try:
        bytearray(1024 * MEGABYTE)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


class _Mute(Exception):
    def __str__(self) -> str:
        raise Broken("not even its text can be had")


def _raise_mute() -> None:
    raise _Mute


def _close_connection() -> None:
    connection.connection.close()  # behind Django's back: every further statement is a conflict
    Effect.objects.exists()


def _lose_every_race() -> None:
    raise OperationalError("database is locked")


def _hold() -> None:
    """Wait where a test can find this process, and as long as it says."""
    held = Path(settings.VAR_DIR) / HELD
    held.with_suffix(f".{os.getpid()}").touch()
    while held.exists():
        time.sleep(0.01)


def _die_holding_the_timer() -> None:
    """Die as if killed while django-q2's worker has the lock of its timer; its guard needs it."""
    frame = sys._getframe()
    while "timer" not in frame.f_locals:
        assert frame.f_back
        frame = frame.f_back
    frame.f_locals["timer"].get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS: dict[str, Callable[[], None]] = {
    "slow": _work_slowly,
    "slow_sql": _wait_in_the_database,
    "unencodable": _raise_unencodable,
    "raise": _raise,
    "permanent": _fail_for_good,
    "later": _ask_for_later,
    "hang": _swallow_and_hang,
    "swallow": _swallow_everything,
    "exit": sys.exit,
    "exit_at_once": lambda: os._exit(1),
    "interrupt": _interrupt,
    "generator_exit": _close_generator,
    "recurse": _recurse,
    "memory": _eat_memory,
    "mute": _raise_mute,
    "close": _close_connection,
    "conflict": _lose_every_race,
    "hold": _hold,
    "kill_with_timer": _die_holding_the_timer,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
