"""The broker or the database away or frozen, while people sign up."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.recovery.site import Site, judged, seconds_until
from benchmarks.recovery.traffic import Answer, Traffic, normal_after_s, summary
from tests.servers.client import Server, paused, stopped

DELIVERED_TARGET_S = 30.0
NORMAL_TARGET_S = 5.0
ANSWER_TARGET_S = 15.0  # a refusal that comes later is no clean one
HEALTHY_S = 20.0
IN_FLIGHT_S = 5.0
AFTERWARDS_S = 20.0
QUEUES = ("coupons", "points")

Outage = Callable[[Server], AbstractContextManager[None]]


def broker_down(site: Site) -> dict[str, Any]:
    """Stop the broker: connections are refused."""
    return _broker_away(site, stopped)


def broker_hung(site: Site) -> dict[str, Any]:
    """Freeze the broker: connections open, and nothing answers."""
    return _broker_away(site, paused)


def database_down(site: Site) -> dict[str, Any]:
    """Stop the database at once, as a crash does."""
    return _database_away(site, stopped)


def database_hung(site: Site) -> dict[str, Any]:
    """Freeze the database: whoever asked it waits."""
    return _database_away(site, paused)


def _broker_away(site: Site, outage: Outage) -> dict[str, Any]:
    assert site.broker
    traffic, away_at, returned_at, delivered_s = _live_through(
        site, outage, site.broker, site.seconds
    )
    during = traffic.sent(away_at, returned_at)
    answered = all(answer.status == 201 for answer in traffic.sent())
    return {
        "delivered": judged(delivered_s, DELIVERED_TARGET_S, every_sign_up_succeeded=answered),
        "outage_s": site.seconds,
        "healthy": summary(_healthy(traffic, away_at)),
        "during": summary(during),
    }


def _database_away(site: Site, outage: Outage) -> dict[str, Any]:
    assert site.database
    seconds = min(site.seconds, 30.0)
    traffic, away_at, returned_at, delivered_s = _live_through(site, outage, site.database, seconds)
    during, after = traffic.sent(away_at, returned_at), traffic.sent(returned_at)
    refused = [answer for answer in traffic.sent() if answer.status != 201]
    slowest_s = max(answer.seconds for answer in during)
    return {
        "normal": judged(
            normal_after_s(after, returned_at),
            NORMAL_TARGET_S,
            all_was_well_before=all(a.status == 201 for a in _healthy(traffic, away_at)),
            every_refusal_is_a_clean_503=all(answer.is_clean_refusal for answer in refused),
            no_false_201=not _false_201s(traffic),
        ),
        "slowest_answer": judged(slowest_s, ANSWER_TARGET_S),
        "delivered": judged(delivered_s, DELIVERED_TARGET_S, **_nobody_was_charged()),
        "outage_s": seconds,
        "healthy": summary(_healthy(traffic, away_at)),
        "during": summary(during),
        "afterwards": summary(after),
    }


def _healthy(traffic: Traffic, away_at: float) -> list[Answer]:
    # Not what was sent just before: some of that was still unanswered when the outage began.
    return traffic.sent(until=away_at - IN_FLIGHT_S)


def _live_through(
    site: Site, outage: Outage, server: Server, seconds: float
) -> tuple[Traffic, float, float, float]:
    """Send sign-ups before, during and after an outage.

    Returns them, when the outage began and ended, and the seconds from its end until everything
    that had been published by then was delivered.
    """
    from tests.processes import web_server, worker

    with web_server() as address, worker(*QUEUES):
        seconds_until(_no_work_waits, time.monotonic())
        with Traffic(urlsplit(address).port or 0, site.rate_per_s).flowing() as traffic:
            time.sleep(HEALTHY_S)
            away_at = time.monotonic()
            with outage(server):
                time.sleep(seconds)
            returned_at = time.monotonic()
            backlog = _last_position()
            delivered_s = seconds_until(lambda: _is_delivered(backlog), returned_at)
            time.sleep(max(0.0, returned_at + AFTERWARDS_S - time.monotonic()))
        seconds_until(_no_work_waits, time.monotonic())
    return traffic, away_at, returned_at, delivered_s


def _last_position() -> int:
    from django.db import connection
    from django.db.models import Max

    from events.models import Event

    connection.close()  # it was opened before the outage
    position: int = Event.objects.aggregate(last=Max("position"))["last"]
    return position


def _is_delivered(up_to: int) -> bool:
    from events.models import Delivery

    unfinished = Delivery.objects.filter(queue__in=QUEUES, finished_at=None)
    return not unfinished.filter(event__position__lte=up_to).exists()


def _no_work_waits() -> bool:
    from events.models import Delivery

    return not Delivery.objects.filter(queue__in=QUEUES, finished_at=None).exists()


def _false_201s(traffic: Traffic) -> set[str]:
    """Return the ids that were answered but are not there."""
    from django.contrib.auth import get_user_model

    there = {str(pk) for pk in get_user_model().objects.values_list("pk", flat=True)}
    return {answer.user_id for answer in traffic.sent() if answer.status == 201} - there


def _nobody_was_charged() -> dict[str, bool]:
    from events.models import Attempt, Delivery

    return {
        "no_attempt_was_charged": not Attempt.objects.exists(),
        "nothing_is_dead": not Delivery.objects.filter(state="dead").exists(),
    }
