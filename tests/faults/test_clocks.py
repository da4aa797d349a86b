"""A process whose clock is wrong delivers, and is delivered to, as if it were right."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from events.models import Attempt, Delivery
from tests.conftest import Misbehave, Publish
from tests.faults.test_bells import PUBLISH
from tests.probe.hurry import CLOCK
from tests.probe.observe import delivery, effects
from tests.processes import run_script, wait_until, worker

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.long,
    pytest.mark.database("postgres"),  # a database with a clock of its own
]

HOUR_S, DAY_S = 3600, 86400
OFF_BY = [-DAY_S, HOUR_S]


@pytest.mark.parametrize("off_by_s", OFF_BY)
def test_a_worker_with_a_wrong_clock_delivers_once_and_at_once(
    off_by_s: int, publish: Publish
) -> None:
    publish(1)

    with worker("probe", **{CLOCK: str(off_by_s)}):
        wait_until(lambda: effects("record") == [1])
        publish(2)
        wait_until(lambda: effects("record") == [1, 2])

    # Its lease and its verdict were of the database's time.
    finished = Delivery.objects.filter(state="done", finished_at__lte=Now())
    assert finished.filter(finished_at__gt=Now() - timedelta(minutes=10)).count() == 4


@pytest.mark.parametrize("off_by_s", OFF_BY)
def test_what_a_process_with_a_wrong_clock_publishes_is_delivered_at_once(off_by_s: int) -> None:
    with worker("probe"):
        for number in (1, 2):
            publish = PUBLISH.format(key="someone", number=number)
            assert run_script(publish, **{CLOCK: str(off_by_s)}) == 0
        wait_until(lambda: effects("record") == [1, 2])


@pytest.mark.parametrize("off_by_s", OFF_BY)
def test_a_retry_is_due_when_its_schedule_says_whatever_the_workers_clock_says(
    off_by_s: int, publish: Publish, misbehave: Misbehave
) -> None:
    misbehave(1, "raise")
    publish(1)

    with worker("probe", **{CLOCK: str(off_by_s)}):
        wait_until(lambda: delivery("record").last_error)
        wait_until(lambda: delivery("record").attempts >= 2)  # the second came by itself

    attempts = Attempt.objects.filter(ended_at__gte=F("started_at"))
    assert attempts.count() == Attempt.objects.count() > 0
