"""Whatever carries them, events arrive through a restart and a cut in their midst.

All of them, at least once, under the same ids, the same bytes each time, in order per person. A
hundred of them are enough for both to happen in the midst; `long` has a thousand.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from events.delivery.drain import drain as drain_queue
from events.models import Delivery, DeliveryState
from relay import loops
from relay.endpoints import Endpoint
from relay.transports import zeromq
from tests.probe.observe import make_due
from tests.processes import wait_until
from tests.relay import brokers
from tests.relay.arrivals import check_arrivals, register_many
from tests.relay.brokers import Broker
from tests.relay.conftest import Subscribe
from tests.servers import rabbitmq

EVENT_BYTES = 500  # about: an event's body with its headers
ROUNDS = 100
LIMIT_S = 2.0
CUT_S = 120.0

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

Run = Callable[[], AbstractContextManager[Broker]]
few_and_many = pytest.mark.parametrize(
    "people", [5, pytest.param(50, marks=pytest.mark.long)], ids=["hundred", "thousand"]
)


@pytest.fixture(
    params=[
        pytest.param(
            brokers.rabbitmq_broker,
            id="rabbitmq",
            marks=pytest.mark.skipif(not rabbitmq.PROGRAM.exists(), reason=rabbitmq.MISSING),
        ),
        pytest.param(brokers.kafka_broker, id="kafka"),
        pytest.param(brokers.nats_broker, id="nats"),
        pytest.param(brokers.valkey_broker, id="valkey"),
        pytest.param(brokers.zeromq_broker, id="zeromq"),
        pytest.param(brokers.https_broker, id="https"),
    ]
)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Return each broker in turn."""
    run: Run = request.param
    with run() as broker:
        yield broker


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an exchange that goes nowhere up sooner."""
    for module in (loops, zeromq):
        monkeypatch.setattr(module, "TOTAL_S", LIMIT_S)


def unsent() -> int:
    """Return how many events are not done."""
    sends = Delivery.objects.filter(receiver="relay.send")
    return sends.exclude(state=DeliveryState.DONE).count()


def drain_once() -> None:
    """Let an endpoint that rests go on, and send what is owed."""
    Endpoint.objects.update(rests_until=None)
    make_due()
    drain_queue("relay")


def send_until_cut(broker: Broker, count: int) -> None:
    """Send until the link is cut, in the midst of `count` events; it stays so."""
    left = count * EVENT_BYTES // 2

    def is_last(chunk: bytes) -> bool:
        nonlocal left
        left -= len(chunk)
        broker.link.conditions.refuses = left <= 0
        return left <= 0

    broker.link.cut_when(is_last)

    def is_cut() -> bool:
        drain_queue("relay")  # a busy machine takes longer than one drain's budget
        return broker.link.is_cut

    wait_until(is_cut, timeout_s=CUT_S)
    assert 0 < unsent() < count


def send_the_rest() -> None:
    """Send until nothing is owed."""
    for _ in range(ROUNDS):
        if not unsent():
            return
        drain_once()
    raise AssertionError(f"{unsent()} events are not sent")


@few_and_many
def test_all_arrive_through_a_cut_in_their_midst(
    broker: Broker, subscribe: Subscribe, people: int
) -> None:
    subscribe(broker.url, schedule_s=[0], max_attempts=50)
    events = register_many(people)
    send_until_cut(broker, len(events))
    broker.link.conditions.refuses = False

    send_the_rest()

    broker.collect()
    check_arrivals(events, broker.messages)


@few_and_many
def test_all_arrive_through_a_restart_in_their_midst(
    broker: Broker, subscribe: Subscribe, people: int
) -> None:
    subscribe(broker.url, schedule_s=[0], max_attempts=50)
    events = register_many(people)
    send_until_cut(broker, len(events))
    broker.link.conditions.refuses = False
    broker.collect()
    broker.stop()
    drain_once()
    assert unsent()
    broker.start()

    send_the_rest()

    broker.collect()
    check_arrivals(events, broker.messages)
