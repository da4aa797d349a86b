"""One run: start everything, register everybody while it breaks, wait for rest, judge."""

import io
import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from events.models import Delivery, DeliveryState
from events.receivers import all_receivers
from project.alarms.watching import open_alarms
from tests.faults.chaos.clients import Clients, Progress
from tests.faults.chaos.fleet import Fleet, running_fleet
from tests.faults.chaos.history import History, read
from tests.faults.chaos.killer import Killer
from tests.faults.chaos.plan import Plan
from tests.faults.checks import check_everything, counted
from tests.faults.stimuli import drain_everything
from tests.faults.world import open_campaign_and_rule
from tests.servers.client import Server

STUCK_AFTER_S = 90.0  # without a delivery that is finished
LOOK_EVERY_S = 0.5
FINDINGS_SHOWN = 20
CAUSED = {  # by a registration
    "accounts.user_registered",
    "coupons.coupon_issued",
    "points.points_earned",
}
AT_REST = (DeliveryState.DONE, DeliveryState.DEAD, DeliveryState.SKIPPED)

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run stands on. Django is set up on its database, which is migrated and empty."""

    directory: Path
    database: str
    broker: str
    rate_per_s: float
    postgres: Server | None
    valkey: Server | None


def run(plan: Plan, setting: Setting, report: Report) -> dict[str, Any]:
    """Carry out a plan; return the result, ready to be printed as JSON."""
    inviter = open_campaign_and_rule(drain_everything)
    started = time.monotonic()
    history = History(setting.directory / "history.jsonl")
    progress = Progress(plan.registrations, setting.rate_per_s)
    report("starting web servers and workers")
    with running_fleet(setting.directory, _queues()) as fleet:
        clients = Clients(fleet.ports, history, progress, plan.seed, inviter.referral_code)
        killer = Killer(plan, fleet, progress, postgres=setting.postgres, valkey=setting.valkey)
        killer.start()
        clients.start()
        _watch(clients, fleet, progress, report)
        killer.join()
        report("waiting for rest")
        time_to_rest_s = _wait_for_rest()
    history.close()
    report("checking")
    findings = check_everything(read(history.path))
    return {
        "seed": plan.seed,
        "database": setting.database,
        "broker": setting.broker,
        "registrations": plan.registrations,
        "kills": sum(fleet.killed.values()),
        "killed": dict(sorted(fleet.killed.items())),
        "faults": dict(sorted(killer.faults.items())),
        **counted(findings),
        "findings": [str(finding) for finding in findings[:FINDINGS_SHOWN]],
        "invariants": check_invariants(history.path),
        **clients.answers.summary(),
        "time_to_rest_s": round(time_to_rest_s, 1),
        "ended_by_themselves": dict(fleet.ended),
        "supervisor_exit_codes": fleet.exit_codes("supervisor"),
        "orphans": fleet.orphans(),
        "duration_s": round(time.monotonic() - started, 1),
        "directory": str(setting.directory),
    }


def is_sound(result: dict[str, Any]) -> bool:
    """Tell whether a result is what the product promises."""
    found = ("lost", "doubled", "stuck", "false", "gave_up", "wrong_answers")
    unwanted = (*found, "ended_by_themselves", "orphans")
    # One that was told to stop before it could listen ends by the signal itself.
    stopped_well = set(result["supervisor_exit_codes"]) <= {0, -signal.SIGTERM}
    return (
        not any(result[name] for name in unwanted) and result["invariants"]["ok"] and stopped_well
    )


def check_invariants(history: Path) -> dict[str, Any]:
    """Return what the product's own checker says of the database at rest, in short."""
    output = io.StringIO()
    with suppress(CommandError):  # its way to say that something does not hold; so does "ok"
        call_command("check_invariants", history=history, at_rest=True, json=True, stdout=output)
    found = json.loads(output.getvalue())
    return {
        "ok": found["ok"],
        "checked": [each["id"] for each in found["invariants"] if each["checked"]],
        "breaches": [each for each in found["invariants"] if each["breaches"]],
        "checksum": found["checksum"],
    }


def _queues() -> list[str]:
    """Return the queues that registrations give work to: each costs ten processes in a run."""
    return sorted(
        {
            receiver.queue
            for receiver in all_receivers()
            if CAUSED & {signal.type for signal in receiver.signals}
        }
    )


def _watch(clients: Clients, fleet: Fleet, progress: Progress, report: Report) -> None:
    while clients.is_busy():
        killed = sum(fleet.killed.values())
        report(f"{progress.begun} of {progress.registrations} people, {killed} kills")
        time.sleep(LOOK_EVERY_S)


def _wait_for_rest() -> float:
    """Return the seconds until nothing is to be done any more, or nothing is done any more.

    Alarms are over soon after the last delivery that they were about.
    """
    started = moved_at = time.monotonic()
    left = fewest = float("inf")
    while left and time.monotonic() - moved_at < STUCK_AFTER_S:
        time.sleep(LOOK_EVERY_S)
        with suppress(DatabaseError):
            left = still_to_come()
        connection.close_if_unusable_or_obsolete()
        if left < fewest:  # slow is not stuck
            fewest, moved_at = left, time.monotonic()
    return time.monotonic() - started


def still_to_come() -> int:
    """Return how many deliveries are open, and alarms: the end of one is an event.

    In the opposite order an alarm that ends in between would be missed.
    """
    alarms = len(open_alarms())
    return alarms + Delivery.objects.exclude(state__in=AT_REST).count()
