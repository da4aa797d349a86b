"""Workers that are killed or stopped, and clusters that freeze."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from benchmarks.recovery.site import Site, judged, seconds_until
from benchmarks.recovery.traffic import Traffic, summary

LEASE_TARGET_S = 35.0  # the lease and 5 s
WEDGE_TARGET_S = 45.0
SQLITE_HOLD_TARGET_S = 10.0  # a stopped worker keeps the write lock no longer than this
TIMES = 3


def worker_killed(site: Site) -> dict[str, Any]:
    """Kill a worker in the middle of a delivery."""
    here = max(_seconds_to_redo_a_killed(site, number) for number in range(TIMES))
    return {
        "on_this_machine": judged(here, LEASE_TARGET_S),
        "on_another_machine": judged(_seconds_to_redo_a_foreign(), LEASE_TARGET_S),
    }


def worker_stopped(site: Site) -> dict[str, Any]:
    """Stop a worker in the middle of a delivery for longer than its lease, then let it go on."""
    from tests.processes import web_server

    with web_server() as address, _held_worker(site, "stopped") as (user_id, pid):
        with Traffic(urlsplit(address).port or 0, site.rate_per_s).flowing() as traffic:
            stopped_at = time.monotonic()
            os.kill(pid, signal.SIGSTOP)
            _let_go(site)
            redone_s = seconds_until(lambda: _is_done(user_id), stopped_at)
            seconds_until(lambda: time.monotonic() > stopped_at + LEASE_TARGET_S, stopped_at)
            survived = _go_on(pid)
        answers = traffic.sent(since=stopped_at)
        seconds_until(_all_done, time.monotonic())
        coupons = _coupons_of(user_id)
    refused = [answer for answer in answers if answer.status != 201]
    refused_s = max((a.sent_at + a.seconds - stopped_at for a in refused), default=0.0)
    return {
        "redone": judged(redone_s, LEASE_TARGET_S, applied_once=coupons == 1),
        "sign_ups": {
            **judged(refused_s, SQLITE_HOLD_TARGET_S if site.on_sqlite else 0.0),
            "meaning": "seconds in which some were refused",
            "all_refusals_clean": all(answer.is_clean_refusal for answer in refused),
            **summary(answers),
        },
        "stopped_worker": "went on" if survived else "was killed by the watchdog",
    }


def wedged(site: Site) -> dict[str, Any]:
    """Freeze a cluster in each of the ways django-q2 can."""
    roles = {"idle_worker": 0, "idle_monitor": -2, "pusher": -1}
    results = {name: _seconds_to_thaw(_kill_child(place)) for name, place in roles.items()}
    results["worker_with_its_timer"] = _seconds_to_thaw(_kill_with_timer)
    return {name: judged(seconds, WEDGE_TARGET_S) for name, seconds in results.items()}


def _seconds_to_redo_a_killed(site: Site, number: int) -> float:
    with _held_worker(site, f"killed{number}") as (user_id, pid):
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        _let_go(site)
        return seconds_until(lambda: _is_done(user_id), killed_at)


def _seconds_to_redo_a_foreign() -> float:
    from events.delivery.claim import claim
    from tests.processes import worker

    user_id = _register("foreign")
    with mock.patch("events.delivery.claim.current_owner", return_value="elsewhere:1:1"):
        assert claim("coupons", 10)
    claimed_at = time.monotonic()
    with worker("coupons"):
        return seconds_until(lambda: _is_done(user_id), claimed_at)


@contextmanager
def _held_worker(site: Site, name: str) -> Iterator[tuple[Any, int]]:
    """Run workers; one of them is held while it decides about a new user's coupon.

    Yields the user's id and the pid of the held process.
    """
    from tests.probe.models import Fault
    from tests.probe.sabotage import COUPONS, SABOTAGE
    from tests.processes import worker

    _held(site).touch()
    Fault.objects.get_or_create(number=COUPONS, kind="hold")
    with worker("coupons", "points", **{SABOTAGE: "1"}):
        user_id = _register(name)
        seconds_until(lambda: _held_pids(site), time.monotonic())
        yield user_id, _held_pids(site)[0]
    for pid in _held_pids(site):
        _held(site).with_suffix(f".{pid}").unlink()


def _held(site: Site) -> Path:
    from tests.probe.receivers import HELD

    return site.directory / HELD


def _held_pids(site: Site) -> list[int]:
    return [int(path.suffix[1:]) for path in site.directory.glob(f"{_held(site).name}.*")]


def _let_go(site: Site) -> None:
    _held(site).unlink()


def _go_on(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True


def _register(name: str) -> Any:
    from accounts.services import register
    from benchmarks.served import PASSWORD

    return register(email=f"{name}@example.org", password=PASSWORD).user.pk


def _is_done(user_id: Any) -> bool:
    from events.models import Delivery

    return Delivery.objects.filter(queue="coupons", key=str(user_id), state="done").exists()


def _all_done() -> bool:
    from events.models import Delivery

    unfinished = Delivery.objects.filter(queue__in=["coupons", "points"], finished_at=None)
    return not unfinished.exists()


def _coupons_of(user_id: Any) -> int:
    from coupons.models import Coupon

    return Coupon.objects.filter(user=user_id).count()


def _seconds_to_thaw(freeze: Callable[[int], None]) -> float:
    """Return the seconds from the freeze until an event published after it is delivered."""
    from tests.processes import worker

    with worker("probe") as supervisor:
        first = _publish("before")
        seconds_until(lambda: _is_recorded(first), time.monotonic())
        freeze(supervisor.pid)
        frozen_at = time.monotonic()
        second = _publish("after")
        return seconds_until(lambda: _is_recorded(second), frozen_at)


def _publish(key: str, number: int = 0) -> Any:
    from django.db import transaction

    from tests.probe.signals import Happened, happened

    with transaction.atomic():
        return happened.publish(Happened(key=key, number=number)).id


def _is_recorded(event_id: Any) -> bool:
    from events.models import Delivery

    return Delivery.objects.filter(
        event=event_id, receiver="probe.record_batch", state="done"
    ).exists()


def _kill_child(place: int) -> Callable[[int], None]:
    """Return what kills a child of the sentinel: it starts its workers, its monitor, its pusher."""
    from tests.processes import cluster_of

    def kill(supervisor_pid: int) -> None:
        cluster = cluster_of(supervisor_pid)
        children = sorted(cluster.children()[0].children(), key=lambda child: child.pid)
        children[place].kill()

    return kill


def _kill_with_timer(supervisor_pid: int) -> None:
    from tests.probe.models import Fault

    number = 1
    fault = Fault.objects.create(number=number, kind="kill_with_timer")
    _publish("killer", number)
    _wait_for_a_death(supervisor_pid)
    fault.delete()


def _wait_for_a_death(supervisor_pid: int) -> None:
    from tests.processes import descendants_of

    def is_one_dead() -> bool:
        return any(process.status() == "zombie" for process in descendants_of(supervisor_pid))

    seconds_until(is_one_dead, time.monotonic())
