"""Where the database's clock is set back, nothing waits for it to catch up."""

from datetime import datetime, timedelta
from unittest import mock

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from events.delivery import clock
from events.delivery.claim import LEASE_S, claim
from events.delivery.clock import ClockWatch, database_now
from events.models import Delivery, ReceiverState
from tests.conftest import Drain, Publish
from tests.probe.observe import delivery, effects

pytestmark = pytest.mark.django_db(transaction=True)

STEP = timedelta(hours=1)


def watch_that_saw(shown: datetime) -> ClockWatch:
    """Return a watch that has just seen the clock show this."""
    watch = ClockWatch()
    with mock.patch.object(clock, "database_now", return_value=shown):
        watch.advance()
    return watch


def test_what_was_due_before_the_step_is_due_after_it(publish: Publish, drain: Drain) -> None:
    publish(1)
    Delivery.objects.update(due_at=Now() + STEP)  # published when the clock was an hour ahead
    watch = watch_that_saw(database_now() + STEP + timedelta(seconds=1))

    repaired = watch.advance()
    drain()

    assert repaired == 4
    assert effects("record") == [1]


def test_a_retry_that_was_still_to_come_is_left_alone(publish: Publish) -> None:
    publish(1)
    Delivery.objects.update(due_at=Now() + 2 * STEP)

    assert watch_that_saw(database_now() + STEP).advance() == 0


def test_a_lease_lasts_no_longer_than_a_lease(publish: Publish) -> None:
    publish(1)
    claim("probe", 10)
    running = Delivery.objects.filter(state="running")
    running.update(lease_expires_at=Now() + STEP)

    watch_that_saw(database_now() + STEP).advance()

    assert not running.filter(lease_expires_at__gt=Now() + timedelta(seconds=LEASE_S)).exists()
    assert running.filter(lease_expires_at__gt=Now()).count() == running.count() > 0


@pytest.mark.parametrize("step", [timedelta(0), timedelta(seconds=-3), STEP])
def test_a_clock_that_goes_on_or_is_set_forward_changes_nothing(
    step: timedelta, publish: Publish
) -> None:
    publish(1)
    Delivery.objects.update(due_at=Now() + timedelta(seconds=2))

    assert watch_that_saw(database_now() - step).advance() == 0
    assert delivery("record").state == "pending"


def test_the_databases_clock_is_read_as_utc() -> None:
    assert abs(database_now() - timezone.now()) < timedelta(minutes=1)


def test_what_the_database_has_written_is_not_later_than_its_clock() -> None:
    for _ in range(50):
        ReceiverState.objects.create(name="probe.record", paused_at=Now())
        shown = database_now()

        assert ReceiverState.objects.filter(paused_at__lte=shown).delete()[0] == 1
