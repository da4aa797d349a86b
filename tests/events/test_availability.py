"""An outage of the database is not held against what ran when it began."""

from collections.abc import Iterator
from unittest import mock

import pytest

from events.delivery import availability as availability_module
from events.delivery import leases
from events.delivery.availability import MEMORY_S, SILENCE_S, Availability, availability
from events.delivery.claim import claim
from events.models import Attempt, Delivery
from tests.conftest import Drain, Publish
from tests.probe.observe import delivery, effects, let_leases_expire, make_due

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """A monotonic clock that only tests move."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put the module under a clock of the test's."""
    clock = Clock()
    monkeypatch.setattr(availability_module, "time", clock)
    return clock


@pytest.fixture
def outage() -> Iterator[None]:
    """Have an outage behind us."""
    with mock.patch.object(availability, "was_away_lately", return_value=True):
        yield


def test_sweeps_that_come_through_are_no_outage(clock: Clock) -> None:
    sweeps = Availability()
    for _ in range(10):
        sweeps.heard()
        clock.now += 1

    assert not sweeps.was_away_lately()


def test_a_failed_sweep_is_one_for_longer_than_a_lease(clock: Clock) -> None:
    sweeps = Availability()
    sweeps.failed()
    sweeps.heard()
    clock.now += MEMORY_S - SILENCE_S
    sweeps.heard()

    assert sweeps.was_away_lately()


def test_so_is_a_sweep_that_hung(clock: Clock) -> None:
    sweeps = Availability()
    sweeps.heard()
    clock.now += SILENCE_S + 1

    assert sweeps.was_away_lately()
    sweeps.heard()
    assert sweeps.was_away_lately()


def test_in_time_it_is_forgotten(clock: Clock) -> None:
    sweeps = Availability()
    sweeps.failed()
    clock.now += MEMORY_S + 1

    assert not sweeps.was_away_lately()


def lose_the_worker(publish: Publish) -> None:
    """Have a delivery claimed alone, by a worker that gives no verdict."""
    publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    claim("probe", 1)
    let_leases_expire()


def test_a_delivery_that_ran_alone_through_an_outage_is_not_charged(
    publish: Publish, drain: Drain, outage: None
) -> None:
    lose_the_worker(publish)

    leases.release_expired()

    assert (delivery("record").state, delivery("record").attempts) == ("pending", 0)
    assert "database was away" in delivery("record").last_error
    assert not Attempt.objects.exists()
    drain()
    assert effects("record") == [1]
    assert delivery("record").last_error == ""


def test_but_only_once_lest_it_be_what_brings_the_database_down(
    publish: Publish, outage: None
) -> None:
    lose_the_worker(publish)
    leases.release_expired()
    claim("probe", 1)
    let_leases_expire()

    leases.release_expired()

    assert delivery("record").attempts == 1
    assert Attempt.objects.get().error_class == "WorkerDied"


def test_without_an_outage_it_is_charged(publish: Publish) -> None:
    lose_the_worker(publish)

    leases.release_expired()
    make_due()

    assert delivery("record").attempts == 1
