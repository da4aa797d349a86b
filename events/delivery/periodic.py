"""Do what is due now and then, in a worker, watched as a drain is."""

import logging
from collections.abc import Callable

from django.utils.module_loading import import_string

from events import queue as doorbell
from events.delivery.progress import told
from events.delivery.timelimit import ReceiverTimedOut, call_within

logger = logging.getLogger(__name__)

TIME_LIMIT_S = 30.0  # below django-q2's own
COME_AGAIN_MINUTES = 5  # while a release is rolled out, another worker may know the work


def run(name: str) -> None:
    """Call the function of declared work. django-q2 calls this when a schedule is due.

    What it raises is logged and kept by django-q2 as a failed task; the next run is at its time.
    So it is where it takes too long: raised further, that would end the worker before the call is
    forgotten, and it would come again and again.
    """
    work = doorbell.periodic_work(name)
    try:
        with told().draining():
            if work is None:
                _leave_to_another_release(name)
            else:
                _call_in_time(work)
    finally:
        if work is not None:  # no bell was rung while this call waited in the queue
            doorbell.ring(work.queue)
        doorbell.forget_calls(name)


def _leave_to_another_release(name: str) -> None:
    logger.warning(
        "The schedule %r is of work that this release does not know. It is called again in some "
        "minutes, maybe by a worker of one that does; if none is to come, delete the schedule.",
        name,
    )
    doorbell.come_again(name, minutes=COME_AGAIN_MINUTES)


def _call_in_time(work: doorbell.PeriodicWork) -> None:
    told().call_begins(TIME_LIMIT_S)
    try:
        call_within(TIME_LIMIT_S, _call, import_string(work.function))
    except ReceiverTimedOut:
        logger.error(  # where the clock struck is of no interest
            "%r was stopped after %g s: what it had not committed is undone, and it is called "
            "again in %d minutes. Let %s do a part each time, or less at once.",
            work.name,
            TIME_LIMIT_S,
            work.every_minutes,
            work.function,
        )
    finally:
        told().call_ended()


def _call(function: Callable[[], object]) -> None:
    function()
