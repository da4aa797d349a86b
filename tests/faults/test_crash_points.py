"""A sign-up is complete or absent wherever its process dies, and a cluster may die at its bell.

Every point of `crashpoints` is passed for real, here, in `test_any_receiver`, or, of the relay, in
`test_targeted` and `test_inbound`: one that is not fails its test.
"""

from functools import partial
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from accounts.models import User
from coupons.models import Coupon
from events.models import Delivery, Event
from events.queue import synchronise_schedules
from points.models import Entry
from tests.faults import test_inbound, test_targeted
from tests.faults.any_receiver import crash_cases, recover
from tests.faults.checks import check_everything
from tests.faults.crashpoints import (
    CRASHPOINTS,
    NOTES,
    VARIABLE,
    CrashPoint,
    Stage,
    points_of,
)
from tests.faults.forks import NeverReached, crash
from tests.faults.stimuli import set_scene
from tests.faults.world import register
from tests.processes import wait_until, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

EMAIL = "b@example.com"
LONG_S = 90.0  # a cluster frozen by a death is seen to be, killed and started, several times
STORED = {"registration.committed", "bell.before", "bell.enqueued"}


@pytest.mark.parametrize("point", points_of(Stage.REGISTRATION), ids=lambda point: point.name)
def test_a_sign_up_whose_process_dies_is_complete_or_absent(point: CrashPoint) -> None:
    inviter = set_scene().inviter

    crash(partial(register, EMAIL, inviter), point)

    is_stored = point.name in STORED
    assert User.objects.filter(email=EMAIL).exists() == is_stored
    assert Event.objects.filter(type="accounts.user_registered").count() == 1 + is_stored
    recover()
    assert Coupon.objects.count() == 1 + is_stored
    assert Entry.objects.count() == is_stored
    assert check_everything() == []


def test_a_sign_up_whose_process_died_can_be_made_again() -> None:
    inviter = set_scene().inviter
    crash(partial(register, EMAIL, inviter), CRASHPOINTS["registration.uncommitted"])

    register(EMAIL, inviter)

    recover()
    assert check_everything() == []


def test_clusters_that_die_at_each_step_of_a_bell_lose_nothing(tmp_path: Path) -> None:
    inviter = set_scene().inviter
    names = [point.name for point in points_of(Stage.CLUSTER)]
    deadly = {VARIABLE: ",".join(names), NOTES: str(tmp_path)}

    with worker("coupons", **deadly):
        for number in range(1, len(names) + 1):
            register(f"b{number}@example.com", inviter)
            wait_until(partial(_have_died, tmp_path, number), LONG_S)
        wait_until(lambda: not _open_deliveries("coupons"), LONG_S)

    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert Coupon.objects.count() == len(names) + 1


def test_a_call_of_periodic_work_outlives_those_who_die_before_it_is_forgotten(
    tmp_path: Path,
) -> None:
    synchronise_schedules()  # a schedule that is new is due
    names = [point.name for point in points_of(Stage.PERIODIC)]
    deadly = {VARIABLE: ",".join(names), NOTES: str(tmp_path)}

    with worker("points", **deadly):
        wait_until(partial(_have_died, tmp_path, 1), LONG_S)
        OrmQ.objects.update(lock=timezone.now())  # as it is after two minutes
        wait_until(partial(_have_died, tmp_path, 2), LONG_S)
        wait_until(lambda: not OrmQ.objects.exists(), LONG_S)

    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert Schedule.objects.get(name="points.settle_due").next_run > timezone.now()


def test_a_point_that_is_not_passed_is_an_error() -> None:
    with pytest.raises(NeverReached, match=r"effect\.inside was not passed"):
        crash(lambda: None, CRASHPOINTS["effect.inside"])


def test_every_point_has_a_test() -> None:
    here = points_of(Stage.REGISTRATION, Stage.CLUSTER, Stage.PERIODIC)
    of_receivers = {point for _, point in crash_cases()}
    of_the_relay = {*test_targeted.TRIED, *test_inbound.TRIED}

    assert {*here, *of_receivers, *of_the_relay} == set(CRASHPOINTS.values())


def _have_died(notes: Path, number: int) -> bool:
    return len(list(notes.iterdir())) >= number


def _open_deliveries(queue: str) -> bool:
    return Delivery.objects.filter(queue=queue, finished_at__isnull=True).exists()
