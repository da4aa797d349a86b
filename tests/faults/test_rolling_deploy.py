"""Two releases publish and work side by side, both ways: nothing is lost or doubled."""

import pytest

from events.models import Delivery, Event
from tests.probe.next_release import RELEASE
from tests.probe.observe import effects
from tests.processes import run_script, wait_until, worker

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.database("postgres"),  # any would do: once is enough
]

NEXT = {RELEASE: "next"}
PUBLISH = """
from django.db import transaction
from tests.probe.next_release import Happened as NextHappened
from tests.probe.signals import Happened, happened
with transaction.atomic():
    happened.publish({data})
"""


def publish_in_first_release(number: int) -> None:
    """Publish version 1, from a process that does not know the new receiver."""
    data = f"Happened(key='{number}', number={number})"
    assert run_script(PUBLISH.format(data=data)) == 0


def publish_in_next_release(number: int) -> None:
    """Publish version 2, with a delivery for the new receiver too."""
    data = f"NextHappened(key='{number}', number={number}, place='here')"
    assert run_script(PUBLISH.format(data=data), **NEXT) == 0


def test_rolling_forward_back_and_forward_again_delivers_everything_once() -> None:
    with worker("probe"):
        publish_in_first_release(1)
        publish_in_next_release(2)
        wait_until(lambda: effects("record") == [1])
        with worker("probe", **NEXT):
            wait_until(lambda: sorted(effects("newcomer")) == [1, 2])
            wait_until(lambda: sorted(effects("record")) == [1, 2])
        publish_in_next_release(3)  # a process of the next release that is still to stop
        publish_in_first_release(4)
        wait_until(lambda: sorted(effects("record")) == [1, 2, 4])
        parked = Delivery.objects.filter(event__data__number=3, queue="probe")
        untouched = set(parked.values_list("state", "attempts"))
    with worker("probe", **NEXT):
        wait_until(lambda: sorted(effects("newcomer")) == [1, 2, 3, 4])
        wait_until(lambda: sorted(effects("record")) == [1, 2, 3, 4])
        wait_until(lambda: sorted(effects("record_batch")) == [1, 2, 3, 4])

    assert untouched == {("pending", 0)}
    assert set(Event.objects.filter(type="probe.happened").values_list("version", flat=True)) == {
        1,
        2,
    }
