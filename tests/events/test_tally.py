"""What happened is counted once, whoever scrapes and however often."""

from datetime import timedelta
from threading import Thread

import pytest
from django.db import connection
from django.db.models import F

from events.models import Attempt, Delivery, Event
from events.operations import tally
from events.operations.skip import skip_chosen
from events.tallies import Tally, TallyMark
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = "probe.record"


def totals(metric: str, label: str = RECORD) -> dict[str, float]:
    """Return the totals of one metric and label, by bucket."""
    rows = Tally.objects.filter(metric=metric, label=label)
    return dict(rows.values_list("bucket", "value"))


@pytest.fixture(autouse=True)
def _counting_began() -> None:
    """Begin to count before anything happens."""
    tally.count_on()


def let_it_settle(by: timedelta = tally.LAG) -> None:
    """Make everything that has happened older, as if time had passed."""
    TallyMark.objects.update(counted_to=F("counted_to") - by)
    Event.objects.update(occurred_at=F("occurred_at") - by)
    Delivery.objects.filter(finished_at__isnull=False).update(finished_at=F("finished_at") - by)
    Attempt.objects.update(started_at=F("started_at") - by, ended_at=F("ended_at") - by)


def test_what_is_done_is_counted_once_with_its_latency(publish: Publish, drain: Drain) -> None:
    publish(1)
    publish(2)
    drain()
    let_it_settle()

    for _ in range(3):
        tally.count_on()

    assert totals(tally.FINISHED) == {"done": 2}
    latency = totals(tally.LATENCY)
    assert latency["+Inf"] == latency["3600.0"] == 2
    assert 0 <= latency["sum"] < 3600
    assert list(latency.values()) != []
    assert totals(tally.PUBLISHED, "probe.happened") == {"": 2}


def test_what_has_just_happened_is_counted_later(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()

    tally.count_on()
    before = totals(tally.FINISHED)
    let_it_settle()
    tally.count_on()

    assert before == {}
    assert totals(tally.FINISHED) == {"done": 1}


def test_buckets_are_cumulative_and_by_the_time_that_passed(publish: Publish, drain: Drain) -> None:
    for number, latency_s in enumerate((0.05, 3, 400)):
        event = publish(number, key=str(number))
        drain()
        done = Delivery.objects.filter(event__event_id=event.id, receiver=RECORD)
        done.update(finished_at=event.occurred_at + timedelta(seconds=latency_s))
    let_it_settle(by=timedelta(minutes=10))

    for _ in range(3):
        tally.count_on()

    latency = totals(tally.LATENCY)
    assert (latency["0.1"], latency["2.5"], latency["5.0"]) == (1, 1, 2)
    assert (latency["300.0"], latency["+Inf"]) == (2, 3)
    assert latency["sum"] == pytest.approx(403.05, abs=0.1)


def test_replays_are_done_again_but_have_no_latency(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()
    Delivery.objects.filter(receiver=RECORD).update(position=None)
    let_it_settle()

    tally.count_on()

    assert totals(tally.FINISHED) == {"done": 1}
    assert totals(tally.LATENCY) == {}


def test_failed_attempts_and_skips_are_counted(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    publish(1)
    drain()
    skip_chosen(Delivery.objects.filter(receiver=RECORD), by="me", reason="a test")
    let_it_settle()

    tally.count_on()

    assert totals(tally.FAILED) == {"": 1}
    assert totals(tally.FINISHED) == {"skipped": 1}


def test_a_long_pause_is_made_up_for_step_by_step(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()
    let_it_settle()
    TallyMark.objects.update(counted_to=F("counted_to") - 3 * tally.STEP)

    tally.count_on()
    after_one = totals(tally.FINISHED)
    for _ in range(3):
        tally.count_on()

    assert after_one == {}
    assert totals(tally.FINISHED) == {"done": 1}


def test_history_from_before_the_first_scrape_is_not_gone_over(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    let_it_settle(by=2 * tally.LAG)
    TallyMark.objects.all().delete()

    tally.count_on()
    let_it_settle()
    tally.count_on()

    assert not Tally.objects.exists()


def test_scrapes_at_once_count_nothing_twice(publish: Publish, drain: Drain) -> None:
    for number in range(5):
        publish(number, key=str(number))
    drain()
    let_it_settle()

    threads = [Thread(target=_count_in_a_thread) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert totals(tally.FINISHED) == {"done": 5}
    assert totals(tally.PUBLISHED, "probe.happened") == {"": 5}


def _count_in_a_thread() -> None:
    try:
        tally.count_on()
    finally:
        connection.close()
