"""A worker that is stopped for longer than its lease and then goes on changes nothing any more."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.db import OperationalError, connection

from events.models import Delivery
from tests.conftest import Misbehave, Publish
from tests.probe.hurry import LEASE
from tests.probe.observe import delivery, effects, make_due
from tests.probe.receivers import HELD
from tests.processes import database_url, wait_until, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

QUICKLY = "options=-c%20idle_in_transaction_session_timeout%3D1s%20-c%20lock_timeout%3D1s"


@pytest.fixture
def held() -> Path:
    """Return the file that holds receivers while it is there."""
    path = Path(settings.VAR_DIR) / HELD
    for old in path.parent.glob(f"{HELD}.*"):
        old.unlink()
    path.touch()
    return path


def held_pids(held: Path) -> list[int]:
    """Return the processes that reached the file."""
    return [int(path.suffix[1:]) for path in held.parent.glob(f"{HELD}.*")]


@pytest.mark.parametrize("receiver", ["record", "call_outside"])
def test_a_worker_stopped_beyond_its_lease_is_overtaken_and_applies_nothing(
    receiver: str, publish: Publish, misbehave: Misbehave, held: Path
) -> None:
    misbehave(1, "hold")
    publish(1, key="paused")
    Delivery.objects.exclude(receiver=f"probe.{receiver}").delete()
    url = database_url() + (f"?{QUICKLY}" if connection.vendor == "postgresql" else "")

    with worker("probe", "outside", **{LEASE: "3", "DATABASE_URL": url}):
        wait_until(lambda: held_pids(held))
        stopped = held_pids(held)[0]
        os.kill(stopped, signal.SIGSTOP)
        held.unlink()
        redone = delivery(receiver)
        wait_until(lambda: _is_done_by_another(redone), timeout_s=60)
        _let_go_on(stopped)
        publish(2, key="next")
        Delivery.objects.filter(key="next").exclude(receiver=f"probe.{receiver}").delete()
        mine = Delivery.objects.filter(receiver=f"probe.{receiver}")
        wait_until(lambda: not mine.exclude(state="done").exists())

    assert effects(receiver).count(2) == 1
    # A call that leaves the system is made at least once; an effect of ours is applied once.
    assert effects(receiver).count(1) == 1 or receiver == "call_outside"


def _is_done_by_another(row: Delivery) -> bool:
    try:
        make_due()
    except OperationalError:  # the stopped worker has SQLite's write lock, for a while yet
        return False
    row.refresh_from_db()
    return row.state == "done"


def _let_go_on(pid: int) -> None:
    with suppress(ProcessLookupError):  # its supervisor may have killed it
        os.kill(pid, signal.SIGCONT)
